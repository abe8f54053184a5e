"""PPO against DAgger at equal wall time, from the same policy and in the same worlds.

`python -m benchmarks.experiment_ppo --minutes 20 --out runs/experiment_ppo` lets each arm learn for so many minutes,
drives all of them through held-out worlds (seeds from 100000) and writes result.json and result.md. Started again, it
goes on. Let nothing else run on the machine: wall time is what is compared.

start     the policy that both fine-tuning arms begin with
features  PPO on its action head, encoder frozen (`vla_sim.ppo --kind features`)
dagger    rounds of DAgger with a gate, encoder and head (`vla_sim.dagger`); the last round that ended in time counts
state     PPO on privileged state from nothing (`vla_sim.ppo --kind state`): privileged, no rival of the others
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from vla_sim.core.bounds import Positive, PositiveInt, Seed, Workers
from vla_sim.core.cli import run_command
from vla_sim.core.files import write_whole
from vla_sim.core.options import Folder, Name, named
from vla_sim.policies.registry import find_folder
from vla_sim.scenarios import load_suite
from vla_sim.training.closed_loop import Successes, ValidationSuite
from vla_sim.training.dagger_run import run_dagger
from vla_sim.training.gate import judge, rate
from vla_sim.training.options import DaggerConfig, DaggerGate, PpoConfig
from vla_sim.training.ppo_run import run_ppo
from vla_sim.training.seeds import REPORTING

ARMS: tuple[Literal["state", "features", "dagger"], ...] = ("state", "features", "dagger")
# More than any machine does in the time; the clock ends it.
ENDLESS = 10**9


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `benchmarks.experiment_ppo` is told."""

    minutes: Positive = 20.0
    """Of wall clock for each arm."""
    arms: Annotated[tuple[Literal["state", "features", "dagger"], ...], named("ARM ...")] = ARMS
    """Which arms learn."""
    init: Name = "clip_mlp"
    """Learned policy to start from, a name or folder; its head sees one image."""
    suite: Name = "core"
    """To learn in and to drive."""
    episodes: PositiveInt = 34
    """How many; held-out worlds of each scenario."""
    seed: Seed = 0
    """Of random numbers: worlds, weights and exploring."""
    threads: Workers = 2
    """Threads that learn, and processes that drive."""
    out: Folder = Path("runs/experiment_ppo")
    """Output folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; returns its exit code."""
    return run_command(run, Options, arguments, epilog=(__doc__ or "").partition("\n\n")[2])


def run(options: Options) -> int:
    """Let every arm learn, drive all of them, write the result."""
    scenarios = tuple(scenario.name for scenario in load_suite(options.suite))
    suite = ValidationSuite(scenarios, range(REPORTING, REPORTING + options.episodes), instruction_set="eval")
    policies = {"start": find_folder(options.init)}
    minutes = {"start": 0.0}
    for arm in options.arms:
        learn = learn_by_dagger if arm == "dagger" else learn_by_ppo
        policies[arm], minutes[arm] = learn(arm, options)
    driven = {
        arm: suite.drive(policy, options.out / "drives" / arm, workers=options.threads)
        for arm, policy in policies.items()
    }
    write_result(options, driven, minutes)
    return 0


def learn_by_ppo(arm: str, options: Options) -> tuple[Path, float]:
    """Policy folder, and the minutes that learning took."""
    out = options.out / arm
    config = PpoConfig(
        kind=arm,
        suite=(options.suite,),
        init=options.init if arm == "features" else None,
        control_steps=ENDLESS,
        minutes=options.minutes,
        seed=options.seed,
    )
    policy = run_ppo(config, out, threads=options.threads)
    return policy, json.loads((out / "curve.json").read_text())[-1]["seconds"] / 60


def learn_by_dagger(arm: str, options: Options) -> tuple[Path, float]:
    """Policy folder of the last accepted round among those that ended in time, and the minutes of these rounds."""
    out, clock = options.out / arm, options.out / "dagger_clock.json"
    kept = json.loads(clock.read_text()) if clock.exists() else {"ended": [], "broken_off": 0.0}
    ended: list[dict[str, Any]] = kept["ended"]
    while not ended or ended[-1]["minutes"] < options.minutes:
        begin = time.perf_counter()
        before = kept["broken_off"] + (ended[-1]["minutes"] if ended else 0.0)
        try:
            config = DaggerConfig(
                init=options.init,
                suite=(options.suite,),
                rounds=len(ended) + 1,
                seed=options.seed,
                gate=DaggerGate(report_episodes=0),
            )
            run_dagger(config, out, workers=options.threads, threads=options.threads)
        except BaseException:
            # What an interrupted round did is kept, so its time counts too.
            kept["broken_off"] += (time.perf_counter() - begin) / 60
            write_whole(clock, json.dumps(kept, indent=1).encode())
            raise
        spent = (time.perf_counter() - begin) / 60 + before
        kept["broken_off"] = 0.0
        report = json.loads((out / "report.json").read_text())
        ended.append({"minutes": spent, "policy": str(out / report["last_accepted"] / "policy" / report["driver"])})
        write_whole(clock, json.dumps(kept, indent=1).encode())
    in_time = [entry for entry in ended if entry["minutes"] <= options.minutes]
    if not in_time:
        print(f"no round of DAgger ended within {options.minutes:g} minutes: the policy it began with counts")
        return find_folder(options.init), 0.0
    return Path(in_time[-1]["policy"]), in_time[-1]["minutes"]


def write_result(options: Options, driven: dict[str, Successes], minutes: dict[str, float]) -> None:
    """Each arm against the start, and PPO against DAgger, world by world."""
    pairs = [(arm, "start") for arm in driven if arm not in ("start", "state")]
    pairs += [("features", "dagger")] if {"features", "dagger"} <= set(driven) else []
    verdicts = {pair: judge(driven[pair[0]], driven[pair[1]]).overall for pair in pairs}
    rows = [
        f"| {arm} | {minutes[arm]:.1f} | {rate(sum(found.values()), len(found))} |" for arm, found in driven.items()
    ]
    lines = ["| arm | minutes | success [95 %] |", "|---|---|---|", *rows, ""]
    lines += [f"- {new} against {old}: {found.text()}" for (new, old), found in verdicts.items()]
    document = {
        "format": 1,
        "options": {key: str(value) for key, value in vars(options).items()},
        "seeds": [REPORTING, REPORTING + options.episodes - 1],
        "minutes": minutes,
        "successes": {arm: [sum(found.values()), len(found)] for arm, found in driven.items()},
        "comparisons": {f"{new} against {old}": found.to_json() for (new, old), found in verdicts.items()},
    }
    write_whole(options.out / "result.json", (json.dumps(document, indent=1) + "\n").encode())
    write_whole(options.out / "result.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
