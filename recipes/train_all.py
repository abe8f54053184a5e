"""Train everything that is shipped, from seeds: all policies, their benchmarks, their cards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from recipes import train_rooms, train_shipped, train_turning, train_zoo
from recipes.training_options import TrainingOptions, publish
from vla_sim import benchmark
from vla_sim.core.cli import run_command
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.options import Folder, named

EPILOG = """Started again on the same folder OUT, it goes on where it was interrupted: what is finished is not made
again. Parts, in order:
  shipped   clip_lstm, clip_mlp, ensemble                (needs nothing)
  turning   turning_lstm, for lekiwi and diffbot         (needs shipped)
  rooms     rooms_lstm, for serbot_lidar                 (needs shipped)
  zoo       the benchmark's rows and their ensembles     (needs shipped)
  cards     benchmarks of all of them, model cards       (needs all)

examples:
  python -m recipes.train_all --out runs/v1 --publish policies
  python -m recipes.train_all --parts shipped zoo
  python -m recipes.train_all --out runs/quick --scale 0.02"""

# What policies are measured in, by their robot; the suite "core" for all others.
SUITES = {"serbot_lidar": ("rooms", "people")}


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """What `recipes.train_all` is told."""

    out: Folder = Path("runs/v1")
    """Working folder; each part has a folder of its own in it, and `policies` gathers what they make."""
    parts: Annotated[tuple[str, ...], named("PART ...")] = ()
    """Some of shipped, turning, rooms, zoo, cards (default: all)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    for name in options.parts:
        if name not in PARTS:
            raise UserError(f"unknown part {name!r}; {suggest(name, PARTS)}")
    for name, part in PARTS.items():
        if name in (options.parts or PARTS):
            print(f"== {name}", flush=True)
            if code := part(options):
                return code
    if options.publish:
        publish(options.out / "policies", options.publish)
    return 0


def _shipped(options: Options) -> int:
    return train_shipped.main(_common(options, "shipped"))


def _turning(options: Options) -> int:
    return train_turning.main([*_common(options, "turning"), *_begin(options)])


def _rooms(options: Options) -> int:
    return train_rooms.main([*_common(options, "rooms"), *_begin(options)])


def _zoo(options: Options) -> int:
    return train_zoo.main([*_common(options, "zoo"), "--data", str(options.out / "shipped" / "data")])


def _cards(options: Options) -> int:
    """Benchmarks of every robot's policies, then all cards."""
    found = []
    for robot, policies in _by_robot(options.out / "policies").items():
        folder = options.out / "benchmark" / robot
        arguments = ["--policy", *policies, "--suite", *SUITES.get(robot, ("core",)), "--embodiment", robot]
        if (folder / "closed_loop" / "run.json").is_file():
            arguments = ["--resume", str(folder)]
        else:
            arguments += ["--out", str(folder)]
        if code := benchmark.main([*arguments, "--workers", str(options.workers)]):
            return code
        found.append(str(folder / "benchmark.json"))
    policies_folder = str(options.out / "policies")
    return train_zoo.main(["--out", str(options.out / "zoo"), "--publish", policies_folder, "--cards", *found])


def _by_robot(policies: Path) -> dict[str, list[str]]:
    """Folders of policies that drive, by the robot that each was trained with."""
    from vla_sim.policies.folders import CONFIG, PolicyFolder
    from vla_sim.policies.types import policy_types
    from vla_sim.training.cards import robot_of

    found: dict[str, list[str]] = {}
    for config in sorted(policies.glob(f"*/{CONFIG}")):
        folder = PolicyFolder.read(config.parent)
        if not policy_types()[folder.kind].part:
            found.setdefault(robot_of(folder), []).append(str(folder.path))
    return found


def _common(options: Options, part: str) -> list[str]:
    """What every recipe is told; all put their policies beside each other."""
    numbers = {name: getattr(options, name) for name in ("seed", "scale", "workers", "threads")}
    told = [text for name, number in numbers.items() for text in (f"--{name}", str(number))]
    return ["--out", str(options.out / part), "--publish", str(options.out / "policies"), *told]


def _begin(options: Options) -> list[str]:
    """The policy of the shipped ones that others begin as."""
    return ["--begin", str(options.out / "shipped" / train_shipped.ROUNDS[-1].name / "clip_lstm")]


PARTS: dict[str, Callable[[Options], int]] = {
    "shipped": _shipped,
    "turning": _turning,
    "rooms": _rooms,
    "zoo": _zoo,
    "cards": _cards,
}

if __name__ == "__main__":
    sys.exit(main())
