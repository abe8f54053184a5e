"""`python -m vla_sim.replay`: rebuild one recorded episode, verify that it matches, and film it if asked."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.rollout.result import EpisodeResult

EPILOG = """EPISODE is a line number of episodes.jsonl counted from 0, or POLICY/SCENARIO/SEED (leading parts that
are not needed to tell episodes apart may be left away: obstacle_left/100003, 100003).

examples:
  python -m vla_sim.replay runs/core 12
  python -m vla_sim.replay runs/core ensemble/choose_goal/100007 --video

exit code: 0 the episode is the same bit for bit, 1 it differs, 2 bad input"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.replay`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.replay",
        description="Rebuild one recorded episode, verify that it matches, and film it if asked. The recorded actions "
        "are driven again; the policy is not asked, so a policy that has changed since is not noticed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folder", type=Path, metavar="DIR", help="output folder of vla_sim.eval")
    made.add_argument("episode", metavar="EPISODE", help="which episode, see below")
    made.add_argument("--video", action="store_true", help="film it into DIR/videos")
    made.add_argument("--gif", type=Path, metavar="FILE", help="write a small animated picture")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.evaluation.reporting.films import film
    from vla_sim.evaluation.reporting.video import write_gif
    from vla_sim.evaluation.runner import EPISODES_FILE, read_plan
    from vla_sim.rollout.replay import replay_episode
    from vla_sim.rollout.result import read_results

    plan = read_plan(options.folder)
    records = read_results(options.folder / EPISODES_FILE, on_damaged=lambda text: print(text, file=sys.stderr))
    record = find_episode(records, options.episode)
    replayed = replay_episode(plan, record)
    print(f'{record.policy} / {record.scenario} / seed {record.seed}: "{record.instruction}"')
    print(f"recorded: {record.outcome.value} after {record.steps} steps, {record.path_length_m:.2f} m")
    for difference in replayed.differences:
        print(f"DIFFERENT {difference}")
    if not record.path:
        print("nothing was driven: the episode raised before its first step")
    elif not replayed.differences:
        print("same: outcome, path and every picture match bit for bit")
    if options.video:
        print(f"video: {film(plan, record, options.folder / 'videos', replayed).path}")
    if options.gif:
        write_gif(options.gif, replayed.frames, scene=replayed.scene, record=record)
        print(f"picture: {options.gif}")
    return 1 if replayed.differences else 0


def find_episode(records: Sequence[EpisodeResult], name: str) -> EpisodeResult:
    """The record of that name (see the command's help).

    Raises:
        UserError: none or several have it.
    """
    from vla_sim.core.errors import UserError

    if name.isdecimal() and int(name) < len(records):
        return records[int(name)]
    found = [r for r in records if f"/{'/'.join(map(str, r.key))}".endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join("/".join(map(str, r.key)) for r in found[:4])
        raise UserError(f"{len(found)} episodes are named {name!r}; say which: {keys}, ...")
    near = difflib.get_close_matches(name, ["/".join(map(str, r.key)) for r in records], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"no episode {name!r}: the run has {len(records)} (0 to {len(records) - 1}), or POLICY/SCENARIO/SEED{hint}"
    )


if __name__ == "__main__":
    sys.exit(main())
