"""Say in which worlds recorded drives or key sequences would have reached their goal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from vla_sim.core.bounds import PositiveInt, Range, Seed
from vla_sim.core.cli import run_command
from vla_sim.core.errors import UserError
from vla_sim.core.options import Name, Names, OptionalFolder, OptionalName
from vla_sim.datasets.base import AS_IT_IS, ReadOptions

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.evaluation.fitting.sequences import Drive

EPILOG = """A drive succeeds where it comes within reach of the goal (with --success stopped: ends there) and until then
touches nothing and passes obstacles on the named side. Each is tried in the scenario's own worlds and in as many
others as --worlds says, by kinematics alone. Told are the ranges of the goal's and the obstacles' places and sizes in
which nearly all worlds succeed, and by how many metres it misses as the scenario is.

--sequence is keys ("W3 A Q8", "F4 L1 FL3": one is one control step) or a TOML file of such, tables by name:
  [basket_left]
  keys = "F4 L1 FL3 F2 FR3 R1 F3"
  scenario = "basket_core_left"
  count = 277

examples:
  python -m vla_sim.fit --sequence 'F4 L1 FL3 F2 FR3 R1 F3' --scenario basket_core_left
  python -m vla_sim.fit --sequence recipes/serbot_keys.toml --speed 0.4 0.5 0.6 --out runs/fit
  python -m vla_sim.fit --data recordings --scenario obstacle_left

results with --out: OUT/fit.md, OUT/fit.json, OUT/fit.svg"""
Mps = Annotated[float, Range(0.01, 10.0)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.fit` is told."""

    sequence: OptionalName = None
    """A sequence of keys, or a file of sequences."""
    data: OptionalFolder = None
    """The data set, of any format; equal recordings count as one."""
    scenario: Names = ()
    """Scenario names or TOML files: their worlds are varied (a file of sequences may name its own)."""
    embodiment: Name = "serbot"
    """Robot."""
    speed: tuple[Mps, ...] = ()
    """Speeds of translation in m/s to try (default: the robot's own)."""
    success: Literal["reached", "stopped"] = "reached"
    """Whether it counts to come within reach, or only to end there: sequences of keys seldom end with a stop."""
    worlds: PositiveInt = 20_000
    """Worlds tried in each round."""
    first_seed: Seed = 0
    """Seed of the first world (of a scenario's own), and of what is drawn."""
    out: OptionalFolder = None
    """Output folder (default: print only)."""
    reading: ReadOptions = AS_IT_IS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG)


def run(options: Options) -> int:
    """Fit, print, write; returns the exit code."""
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.core.files import clear_errors
    from vla_sim.core.types import SuccessRule
    from vla_sim.evaluation.fitting.ranges import fit
    from vla_sim.evaluation.fitting.report import table, write_fits

    if options.out:
        with clear_errors(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
    robot = load_embodiment(options.embodiment)
    rule = SuccessRule(options.success)
    drives = _drives(options, robot)
    fits = [
        fit(drive, robot, speed, count=options.worlds, seed=options.first_seed, success=rule)
        for drive in drives
        for speed in options.speed or (robot.cruise_mps,)
    ]
    print(table(fits))
    if options.out:
        write_fits(fits, options.out)
        print(f"\nresults: {options.out}")
    return 0


def _drives(options: Options, robot: Embodiment) -> list[Drive]:
    """What is to be fitted.

    Raises:
        UserError: nothing or both were named, or a scenario is missing.
    """
    from vla_sim.evaluation.fitting.sequences import of_file, of_keys
    from vla_sim.scenarios.library import scenarios_of

    if (options.sequence is None) == (options.data is None):
        raise UserError("name either --sequence or --data")
    scenarios = [found for name in options.scenario for found in scenarios_of(name)]
    if options.sequence is not None and options.sequence.endswith(".toml"):
        return [drive for name in scenarios or [""] for drive in of_file(Path(options.sequence), robot, name)]
    if not scenarios:
        raise UserError("name the scenarios whose worlds are varied with --scenario")
    if options.sequence is not None:
        return [of_keys(options.sequence, robot, name) for name in scenarios]
    return [drive for name in scenarios for drive in _recorded(options, robot, name)]


def _recorded(options: Options, robot: Embodiment, scenario: str) -> list[Drive]:
    """The different drives of a data set.

    Raises:
        UserError: its actions or its control rate are not the robot's.
    """
    import math

    from vla_sim.datasets.dataset import open_dataset
    from vla_sim.evaluation.fitting.sequences import of_recordings

    assert options.data is not None
    found = []
    for episode in open_dataset(options.data, options.reading):
        if tuple(episode.action_names) != tuple(robot.action_names):
            raise UserError(
                f"{options.data}: {episode.name} has actions {list(episode.action_names)}, {robot.name} takes "
                f"{list(robot.action_names)}; --columns chooses and renames"
            )
        if not math.isclose(episode.step_s, robot.control_s, rel_tol=1e-3):
            raise UserError(
                f"{options.data}: {episode.name} has an action every {episode.step_s:g} s, {robot.name} takes one "
                f"every {robot.control_s:g} s"
            )
        found.append((episode.name, episode.actions.astype("float64")))
    return of_recordings(found, scenario)


if __name__ == "__main__":
    sys.exit(main())
