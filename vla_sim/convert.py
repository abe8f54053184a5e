"""`python -m vla_sim.convert`: recordings as a LeRobot data set, or a LeRobot data set as HDF5 recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import counted, run_command
from vla_sim.rollout.driving import add_choice

if TYPE_CHECKING:
    from vla_sim.core.episode import Episode

FORMATS = ("hdf5", "lerobot")
ORDERS, STORED_ORDERS = ("auto", "rgb", "bgr"), ("rgb", "bgr")
LAYOUTS = ("main", "nested", "groups")
# Options that mean nothing for the other format, by the side of the command that they belong to.
ONLY_TO = {"hdf5": ("layout", "store_as"), "lerobot": ("fps", "images")}
ONLY_FROM = {"hdf5": ("channel_order", "columns", "image_px", "skip_bad"), "lerobot": ("camera", "action")}
# Options that do not decide what stands in the files, or are said otherwise in the plan.
NOT_DECIDING = ("source", "out", "format", "skip_bad")

EPILOG = """The source is an HDF5 or picture folder of serbot, or a LeRobotDataset v3.0; which, is seen from its
files. One episode is in memory at a time. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.convert --from recordings --out data/lerobot --format lerobot
  python -m vla_sim.convert --from recordings --out data/lerobot --format lerobot --columns vx wz gripper
  python -m vla_sim.convert --from data/lerobot --out data/hdf5 --format hdf5 --store-as bgr
  python -m vla_sim.convert --from data/others --out data/hdf5 --format hdf5 --action base_x=vx base_y=vy"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.convert`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.convert",
        description="Convert a data set between serbot's HDF5 files and LeRobotDataset v3.0.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--from", type=Path, required=True, dest="source", metavar="DIR", help="the data set")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new one")
    add_choice(made, "--format", FORMATS, text="of the new one")
    seed = made.add_argument_group("only from HDF5 files or folders of pictures")
    add_choice(seed, "--channel-order", ORDERS, default="auto", text="of their pictures (default auto)")
    seed.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="what their action columns are (default: vx vy wz, the collector's)",
    )
    seed.add_argument(
        "--image-px", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="squeeze pictures to this size"
    )
    seed.add_argument("--skip-bad", action="store_true", help="leave recordings out that cannot be read")
    lerobot = made.add_argument_group("only from LeRobot")
    lerobot.add_argument("--camera", metavar="NAME", help="feature with the pictures, where there are several")
    lerobot.add_argument(
        "--action", nargs="+", metavar="NAME=PART", help="which of vx, vy, wz (m/s, rad/s) a component is"
    )
    to_seed = made.add_argument_group("only with --format hdf5")
    add_choice(to_seed, "--layout", LAYOUTS, default="main", text="where things stand in a file (default main)")
    add_choice(to_seed, "--store-as", STORED_ORDERS, default="rgb", text="channel order of the new files (default rgb)")
    to_lerobot = made.add_argument_group("only with --format lerobot")
    to_lerobot.add_argument("--fps", type=int, metavar="N", help="frames a second (default: the lowest that fits)")
    to_lerobot.add_argument("--images", action="store_true", help="PNG pictures instead of H.264 films")
    made.add_argument(
        "--robot", metavar="NAME", help="kept in the new set (default: what the source says, else serbot)"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.store import content_hash

    if options.format is None:
        raise UserError(f"say --format: {' or '.join(FORMATS)}")
    if not options.source.is_dir():
        raise UserError(f"--from {options.source}: no such folder")
    inside = options.source.resolve()
    if options.out.resolve() == inside or inside in options.out.resolve().parents:
        raise UserError(f"--out {options.out} must not lie in the data set itself")
    source = _opened(options)
    _refuse_others(options, source.format)
    decided = {name: value for name, value in vars(options).items() if name not in NOT_DECIDING}
    plan = {"kind": "conversion", "source_sha256": content_hash(options.source), **decided, "episodes": source.count}
    convert = _to_lerobot if options.format == "lerobot" else _to_hdf5
    print(f"{options.out}: {counted(convert(options, source, plan), 'episode')}")
    return 0


@dataclass(frozen=True)
class _Source:
    """A data set to be converted.

    Attributes:
        format: what it is.
        robot: its name, "" where it does not say.
        count: of episodes.
        load: loads one.
        states, outcomes: whether all episodes have them, so that tables can have columns for them.
    """

    format: str
    robot: str
    count: int
    load: Callable[[int], Episode]
    states: bool = True
    outcomes: bool = True


def _opened(options: argparse.Namespace) -> _Source:
    """The source, whichever format it has."""
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.lerobot.format import INFO_PATH

    if (options.source / INFO_PATH).exists():
        from vla_sim.datasets.lerobot import LeRobotReader

        reader = LeRobotReader(options.source, camera=options.camera, action_map=_action_map(options.action))
        if options.format == "lerobot":
            raise UserError(f"{options.source} is a LeRobot data set already")
        return _Source("lerobot", str(reader.info.get("robot_type") or ""), len(reader), reader.__getitem__)
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
    from vla_sim.rollout.driving import readable

    reading = SerbotReading(
        channel_order=options.channel_order,
        columns=tuple(options.columns) if options.columns else None,
        action_names=_twist_of(options.columns),
        image_px=tuple(options.image_px) if options.image_px else None,
    )
    recordings = readable(SerbotFolder(options.source, reading), skip=options.skip_bad)
    robot = str(recordings[0].provenance().get("embodiment", ""))
    states = all(recording.steps.states is not None for recording in recordings)
    outcomes = all(recording.outcome is not None for recording in recordings)
    return _Source("hdf5", robot, len(recordings), lambda i: recordings[i].load(), states, outcomes)


def _twist_of(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """The components of a twist among the columns that were named."""
    from vla_sim.core.specs import ACTION_NAMES

    return tuple(name for name in ACTION_NAMES if name in columns) or None if columns else None


def _action_map(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """What `--action` says."""
    from vla_sim.core.errors import UserError, suggest
    from vla_sim.core.specs import ACTION_NAMES

    if not pairs:
        return None
    found = {}
    for pair in pairs:
        name, equals, part = pair.rpartition("=")
        if not equals or not name:
            raise UserError(f"--action {pair!r}: write NAME=PART, e.g. base_x=vx")
        if part not in ACTION_NAMES:
            raise UserError(f"--action {pair!r}: unknown part {part!r}; {suggest(part, ACTION_NAMES)}")
        found[name] = part
    return found


def _refuse_others(options: argparse.Namespace, source_format: str) -> None:
    """Options that have no effect are refused."""
    from vla_sim.core.errors import UserError

    for here, groups, text in ((options.format, ONLY_TO, "with --format"), (source_format, ONLY_FROM, "from")):
        for kind, names in groups.items():
            for name in names:
                if kind != here and getattr(options, name) != parser().get_default(name):
                    raise UserError(f"--{name.replace('_', '-')} is only {text} {kind}, not {here}")


def _to_lerobot(options: argparse.Namespace, source: _Source, plan: dict[str, Any]) -> int:
    from vla_sim.datasets.lerobot import LeRobotWriter, is_finished, lowest_fps

    if is_finished(options.out, plan):
        print("it was complete already")
        return source.count
    first = source.load(0)
    fps = lowest_fps(first.step_s) if options.fps is None else options.fps
    robot = options.robot or source.robot or "serbot"
    with LeRobotWriter(
        *(options.out, fps, robot, not options.images),
        resume=True,
        plan=plan,
        states=source.states,
        outcomes=source.outcomes,
    ) as writer:
        for index in range(len(writer), source.count):
            writer.add(first if index == 0 else source.load(index))
        return len(writer)


def _to_hdf5(options: argparse.Namespace, source: _Source, plan: dict[str, Any]) -> int:
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.filling import write_entry

    style = SerbotStyle(layout=options.layout, channel_order=options.store_as)
    with EpisodeStore(options.out, plan) as store:
        for index in range(source.count):
            if index not in store.entries:
                episode = source.load(index)
                if any(entry.name == episode.name for entry in store.entries.values()):
                    raise UserError(f"two episodes are named {episode.name}; their files would have one name")
                store.add(write_entry(options.out, index, episode, style))
        store.finish()
        return len(store.entries)


if __name__ == "__main__":
    sys.exit(main())
