"""Which episodes are filmed, and filming them: always afterwards, from the record, so that driving costs no memory."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.evaluation.reporting.report import VideoRef
from vla_sim.evaluation.reporting.sensor_views import with_sensors
from vla_sim.evaluation.reporting.video import write_video
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.replay import Replayed, replay_episode
from vla_sim.rollout.result import EpisodeResult

MAX_NAME = 60


def wanted_films(records: Sequence[EpisodeResult], choice: str) -> list[EpisodeResult]:
    """The records to film, failures first.

    Args:
        records: all of the run; those that never drove are left out.
        choice: "none", "failures", "all", or a number of episodes: then one failure and one success of every policy
            and scenario before the second of any, and those that never succeed last.

    Raises:
        UserError: any other choice.
    """
    if choice not in ("none", "failures", "all") and not choice.isdecimal():
        raise UserError(f"--video must be none, failures, all or a number, got {choice!r}")
    drove = [record for record in records if record.path]
    failures = [record for record in drove if not record.success]
    if choice.isdecimal():
        return _varied(drove)[: int(choice)]
    return {"none": [], "failures": failures, "all": failures + [r for r in drove if r.success]}[choice]


def earlier_films(records: Sequence[EpisodeResult], filmed: Sequence[EpisodeResult], folder: Path) -> list[VideoRef]:
    """Films of this run's other episodes that the folder holds already, in the order of `wanted_films`."""
    now = {record.key for record in filmed}
    drove = [record for record in records if record.path and record.key not in now]
    return [VideoRef(r, folder / video_name(r)) for r in _varied(drove) if (folder / video_name(r)).is_file()]


def _varied(records: Sequence[EpisodeResult]) -> list[EpisodeResult]:
    """All records, those first that show most about the policies."""
    kinds: dict[tuple[str, str, bool], list[EpisodeResult]] = {}
    for record in records:
        kinds.setdefault((record.policy, record.scenario, record.success), []).append(record)
    able = {record.policy for record in records if record.success}
    for policy in {record.policy for record in records} - able:
        # A policy that never succeeds looks much the same everywhere: one film of it goes first, the others last.
        hopeless = [kinds.pop(kind) for kind in list(kinds) if kind[0] == policy]
        kinds[policy, "", False] = [record for group in hopeless for record in group]

    def interest(kind: tuple[str, str, bool]) -> tuple[bool, bool]:
        policy, scenario, success = kind
        return (policy, scenario, True) not in kinds, success

    in_turn = [kinds[kind] for kind in sorted(kinds, key=interest)]
    rounds = itertools.zip_longest(*in_turn)
    return [record for group in rounds for record in group if record is not None]


def make_films(
    plan: Plan, records: Iterable[EpisodeResult], folder: Path
) -> tuple[list[VideoRef], list[tuple[EpisodeResult, str]]]:
    """Film episodes one by one; returns the films, and with its reason each episode that could not be filmed.

    Whatever goes wrong (a broken encoder, a full disk, no memory) costs that film alone.
    """
    made: list[VideoRef] = []
    failed: list[tuple[EpisodeResult, str]] = []
    for record in records:
        try:
            made.append(film(plan, record, folder))
        except Exception as error:
            failed.append((record, str(error) or type(error).__name__))
    return made, failed


def film(plan: Plan, record: EpisodeResult, folder: Path, replayed: Replayed | None = None) -> VideoRef:
    """Write the video of one episode; returns the reference that the report shows."""
    replayed = replayed or replay_episode(plan, record)
    path = folder / video_name(record)
    robot = load_embodiment(plan.embodiment)
    frames = with_sensors(replayed.frames, replayed.sensors, robot)
    write_video(path, frames, scene=replayed.scene, record=record, robot_radius_m=robot.body.radius_m)
    return VideoRef(record=record, path=path)


def video_name(record: EpisodeResult) -> str:
    """'<scenario>__<seed>__<policy>__<outcome>.mp4': a file name of its own for each episode on every file system.

    Names that a file system could refuse, shorten or take for another (special or upper-case letters, great length)
    are made plain and told apart by a hash.
    """
    names = (record.scenario, record.policy)
    scenario, policy = (_plain(name) for name in names)
    changed = (scenario, policy) != names
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:10] if changed else ""
    parts = (scenario, str(record.seed), policy, digest, record.outcome.value)
    return "__".join(part for part in parts if part) + ".mp4"


def _plain(name: str) -> str:
    """Lower-case letters and digits with single separators; of long names the end, which tells most."""
    words = re.findall(r"[a-z0-9]+(?:[_.-][a-z0-9]+)*", name.lower())
    return "-".join(words)[-MAX_NAME:].strip("_.-")
