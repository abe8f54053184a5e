"""What runs inside a worker process of an evaluation: loads one policy, drives its units, gives results home."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_sim.core.memory import keep_freed_memory
from vla_sim.core.pool_worker import Emit, Work, heartbeat
from vla_sim.rollout.plan import NUM_ENVS, Plan, Unit


@dataclass(frozen=True)
class FilesSeen:
    """Files that a policy has read since this was last said: sha256 by path."""

    files: dict[str, str]


@dataclass(frozen=True)
class EvaluationWorker:
    """Makes the work of a process: a policy is loaded once and drives the units of its own.

    The work emits lines of `EpisodeResult.to_json`, and `FilesSeen` before the first result that they may decide.
    """

    plan: Plan

    def __call__(self, policy: str) -> Work:
        """Load the policy.

        Raises:
            UserError: it cannot be used, or does not fit the robot.
        """
        from vla_sim.policies.identity import FilesRead
        from vla_sim.policies.registry import hashed_files, load_policy, policy_hash
        from vla_sim.rollout.evaluating import EvaluationRollout

        keep_freed_memory()
        code = policy_hash(policy)
        read = FilesRead(hashed_files(policy))
        with read:
            _one_thread()
            _spare_the_collector()
            loaded = load_policy(policy)
            for path in _named_files(loaded):
                read.note(path)
        rollout = EvaluationRollout(self.plan, loaded, code, num_envs=NUM_ENVS, on_step=heartbeat)

        def work(unit: Unit, emit: Emit) -> None:
            def tell() -> None:
                if files := read.new():
                    emit(FilesSeen(files))

            def on_result(result: Any) -> None:
                tell()
                emit(result.to_json())

            try:
                tell()
                with read:
                    rollout.run(unit.jobs, on_result)
            except BaseException:
                rollout.close()
                raise

        return work


def _named_files(policy: Any) -> Iterable[str | Path]:
    """Files that a policy says it reads, for those that Python does not see it open."""
    name = getattr(policy, "identity_files", None)
    return name() if callable(name) else ()


@functools.cache
def _spare_the_collector() -> None:
    """The modules imported by now stay: leave them out of garbage collection, which took a twentieth of the time.

    Once, before the first policy: what is frozen is never freed, and a policy that raises is loaded again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _one_thread() -> None:
    """Sums over several threads differ in their last bits; with one thread they never do."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
