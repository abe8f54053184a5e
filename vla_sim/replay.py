"""Rebuild one recorded episode, verify that it matches, and film it if asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from vla_sim.core.cli import run_command
from vla_sim.core.options import OptionalFile, named

if TYPE_CHECKING:
    from vla_sim.rollout.result import EpisodeResult

EPILOG = """The recorded actions are driven again; the policy is not asked, so one that has changed is not noticed.

EPISODE is a line number of episodes.jsonl counted from 0, or POLICY/SCENARIO/SEED (leading parts that
are not needed to tell episodes apart may be left away: obstacle_left/100003, 100003).

examples:
  python -m vla_sim.replay runs/core 12
  python -m vla_sim.replay runs/core ensemble/choose_goal/100007 --video

exit code: 0 the episode is the same bit for bit, 1 it differs, 2 bad input"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.replay` is told."""

    folder: Annotated[Positional[Path], named("DIR")]
    """Output folder of vla_sim.eval."""
    episode: Annotated[Positional[str], named("EPISODE")]
    """Which episode, see below."""
    video: bool = False
    """Film it into DIR/videos."""
    gif: OptionalFile = None
    """Write a small animated image."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG)


def run(options: Options) -> int:
    """Replay, compare, film; returns the exit code."""
    from vla_sim.evaluation.reporting.films import film
    from vla_sim.evaluation.reporting.video import write_gif
    from vla_sim.evaluation.runner import read_plan
    from vla_sim.rollout.replay import replay_episode

    plan = read_plan(options.folder)
    record = _recorded(options)
    replayed = replay_episode(plan, record)
    print(f'{record.policy} / {record.scenario} / seed {record.seed}: "{record.instruction}"')
    print(f"recorded: {record.outcome.value} after {record.steps} steps, {record.path_length_m:.2f} m")
    for difference in replayed.differences:
        print(f"DIFFERENT {difference}")
    if not record.path:
        print("nothing was driven: the episode raised before its first step")
    elif not replayed.differences:
        print("same: outcome, path and every image match bit for bit")
    if options.video:
        print(f"video: {film(plan, record, options.folder / 'videos', replayed).path}")
    if options.gif:
        write_gif(options.gif, replayed.frames, scene=replayed.scene, record=record)
        print(f"image: {options.gif}")
    return 1 if replayed.differences else 0


def _recorded(options: Options) -> EpisodeResult:
    """The episode that is meant, of the run's policies or of a floor that was driven beside them."""
    from vla_sim.evaluation.floors import FLOORS, FLOORS_FILE
    from vla_sim.evaluation.runner import EPISODES_FILE
    from vla_sim.rollout.replay import find_episode
    from vla_sim.rollout.result import read_results

    def told(text: str) -> None:
        print(text, file=sys.stderr)

    records = read_results(options.folder / EPISODES_FILE, on_damaged=told)
    policy, floors = options.episode.partition("/")[0], options.folder / FLOORS_FILE
    if policy in FLOORS and floors.is_file() and all(record.policy != policy for record in records):
        records = read_results(floors, on_damaged=told)
    return find_episode(records, options.episode)


if __name__ == "__main__":
    sys.exit(main())
