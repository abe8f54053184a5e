"""Which episodes are filmed, and filming them: always afterwards, from the record, so that driving costs no memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.evaluation.reporting.report import VideoRef
from vla_sim.evaluation.reporting.video import video_name, write_video
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.replay import Replayed, replay_episode
from vla_sim.rollout.result import EpisodeRecord


def wanted_films(records: Sequence[EpisodeRecord], choice: str) -> list[EpisodeRecord]:
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


def earlier_films(records: Sequence[EpisodeRecord], filmed: Sequence[EpisodeRecord], folder: Path) -> list[VideoRef]:
    """Films of this run's other episodes that the folder holds already, in the order of `wanted_films`."""
    now = {record.key for record in filmed}
    drove = [record for record in records if record.path and record.key not in now]
    return [VideoRef(r, folder / video_name(r)) for r in _varied(drove) if (folder / video_name(r)).is_file()]


def _varied(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """All records, those first that show most about the policies."""
    kinds: dict[tuple[str, str, bool], list[EpisodeRecord]] = {}
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


def film(plan: Plan, record: EpisodeRecord, folder: Path, replayed: Replayed | None = None) -> VideoRef:
    """Write the video of one episode; returns the reference that the report shows."""
    replayed = replayed or replay_episode(plan, record)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / video_name(record)
    radius_m = load_embodiment(plan.embodiment).body.radius_m
    write_video(path, replayed.frames, scene=replayed.scene, record=record, robot_radius_m=radius_m)
    return VideoRef(record=record, path=path)
