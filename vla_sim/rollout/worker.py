"""What runs inside a worker process: loads the policies once, drives units, sends records home."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from vla_sim.core.memory import keep_freed_memory
from vla_sim.rollout.plan import Plan, Unit

# Messages to the parent are tuples that start with one of these.
READY, ALIVE, RECORD, DONE, RAISED, REFUSED = "ready", "alive", "record", "done", "raised", "refused"
ALIVE_EVERY_S = 0.5


def work(connection: Connection, plan: Plan) -> None:
    """Serve units until the parent sends None or goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    keep_freed_memory()
    with contextlib.suppress(BrokenPipeError, EOFError):
        _serve(connection, _Bench(connection, plan))


def _serve(connection: Connection, bench: _Bench) -> None:
    connection.send((READY,))
    while True:
        unit = connection.recv()
        if unit is None:
            return
        bench.run(unit)


class _Bench:
    """The rollouts of this process: of one policy, one for each number of lanes."""

    def __init__(self, connection: Connection, plan: Plan) -> None:
        self._connection = connection
        self._plan = plan
        self._rollouts: dict[tuple[str, int], Any] = {}
        self._last_sign = 0.0

    def run(self, unit: Unit) -> None:
        """Run a unit; tell the parent what happened."""
        from vla_sim.core.errors import UserError

        try:
            rollout = self._rollout(unit)
        except UserError as error:
            named = "" if unit.policy in str(error) else f"policy {unit.policy!r}: "
            self._connection.send((REFUSED, f"{named}{error}"))
            return
        except Exception:
            self._connection.send((REFUSED, f"policy {unit.policy!r} cannot be started:\n{traceback.format_exc()}"))
            return
        self._connection.send((ALIVE,))
        try:
            rollout.run(unit.jobs, lambda record: self._connection.send((RECORD, record.to_json())))
        except Exception:
            self._forget(unit)
            self._connection.send((RAISED, traceback.format_exc()))
        else:
            self._connection.send((DONE,))

    def _rollout(self, unit: Unit) -> Any:
        key = (unit.policy, unit.lanes)
        if key not in self._rollouts:
            from vla_sim.policies.registry import load_policy, policy_hash
            from vla_sim.rollout.evaluating import EvaluationRollout

            self._drop_all_but(unit.policy)
            _one_thread()
            _spare_the_collector()
            policy = load_policy(unit.policy)
            self._rollouts[key] = EvaluationRollout(
                self._plan, policy, policy_hash(unit.policy), lanes=unit.lanes, on_step=self._sign_of_life
            )
        return self._rollouts[key]

    def _drop_all_but(self, policy: str) -> None:
        """Units come policy by policy: to keep all of twenty policies took five gigabytes."""
        for key in [key for key in self._rollouts if key[0] != policy]:
            self._rollouts.pop(key).close()

    def _forget(self, unit: Unit) -> None:
        """A policy that raised may be in any state: load it afresh next time."""
        self._rollouts.pop((unit.policy, unit.lanes)).close()

    def _sign_of_life(self) -> None:
        now = time.monotonic()
        if now - self._last_sign > ALIVE_EVERY_S:
            self._last_sign = now
            self._connection.send((ALIVE,))


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
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
