"""Whether a policy keeps what `vla_sim.policies.base.Policy` promises; each broken promise is one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import Policy, fit
from vla_sim.policies.registry import load_policy

ENVS, STEPS = 3, 4
SCENARIO = "obstacle_left"

Moment = tuple[dict[str, Any], list[dict[str, Any]]]


def check_policy(policy: str | type[Policy] | Policy, *, embodiment: str = "serbot", tolerance: float = 1e-5) -> None:
    """Refuse a policy that would make results wrong: shapes, determinism, envs that influence each other, resets.

    It is shown some steps of real envs. Each promise is tried with the same object, as an evaluation uses it.

    Args:
        policy: a name, folder or "module:Class", a class or an object.
        embodiment: the robot that it is to drive.
        tolerance: how far equal actions may differ, in m/s or rad/s.

    Raises:
        UserError: it breaks a promise; the message says which.
    """
    made = load_policy(policy) if isinstance(policy, str) else policy() if isinstance(policy, type) else policy
    missing = [part for part in ("reset", "act", "spec") if not hasattr(made, part)]
    if missing:
        raise UserError(f"the policy lacks {', '.join(missing)}, see vla_sim.Policy")
    robot = load_embodiment(embodiment)
    fit(made, robot)
    _Check(made, robot, _moments(robot), tolerance).run()


class _Check:
    """All promises of one policy."""

    def __init__(self, policy: Policy, robot: Embodiment, moments: Sequence[Moment], tolerance: float) -> None:
        self._policy, self._robot, self._moments, self._tolerance = policy, robot, moments, tolerance
        self._everywhere, self._seeds = np.ones(ENVS, bool), np.arange(7, 7 + ENVS)

    def run(self) -> None:
        first = self._actions(self._moments)
        self._same(first, self._actions(self._moments), "the same episode again gives other actions: is all reset?")
        elsewhere = [_with_env(moment, 1, 2) for moment in self._moments]
        self._same(
            [actions[0] for actions in first],
            [actions[0] for actions in self._actions(elsewhere)],
            "what one env shows changes the actions of another",
        )
        half = STEPS // 2
        self._same(
            [actions[0] for actions in first],
            [actions[0] for actions in self._actions(self._moments, anew_at=half)],
            "a reset of one env changes the actions of another",
        )
        anew = self._actions([*self._moments[:half], *self._moments[:half]], anew_at=half)
        self._same(
            [actions[1] for actions in first[:half]],
            [actions[1] for actions in anew[half:]],
            "an env that starts anew remembers its last episode",
        )

    def _actions(self, moments: Sequence[Moment], anew_at: int | None = None) -> list[np.ndarray]:
        """Of an episode in all envs; env 1 starts anew at a step."""
        self._policy.reset(self._everywhere.copy(), self._seeds.copy())
        found = []
        for number, moment in enumerate(moments):
            if number == anew_at:
                self._policy.reset(np.arange(ENVS) == 1, self._seeds.copy())
            found.append(self._act(moment))
        return found

    def _act(self, moment: Moment) -> np.ndarray:
        observation, infos = moment
        shown = {name: list(value) if name == "instruction" else value.copy() for name, value in observation.items()}
        given = {name: list(value) if name == "instruction" else value.copy() for name, value in shown.items()}
        actions = self._policy.act(given, infos if self._policy.spec.requires_privileged_info else None)
        expected = (ENVS, len(self._robot.action_names))
        if np.shape(actions) != expected:
            raise UserError(f"act must return actions of shape {expected}, got {np.shape(actions)}")
        numbers = np.array(actions)
        if not np.issubdtype(numbers.dtype, np.floating):
            raise UserError(f"act must return floating-point numbers, got {numbers.dtype}")
        if not np.isfinite(numbers).all():
            raise UserError("act returned actions that are not finite")
        for name, value in shown.items():
            if not np.array_equal(value, given[name]):
                raise UserError(f"act changes the observation that it is given ({name!r})")
        return numbers.copy()

    def _same(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray], complaint: str) -> None:
        difference = max(float(np.abs(one - other).max()) for one, other in zip(first, second, strict=True))
        if difference > self._tolerance:
            raise UserError(f"{complaint} (they differ by {difference:.2g})")


def _moments(robot: Embodiment) -> list[Moment]:
    """What envs show while they drive straight ahead: observations, and privileged state for those who may read it."""
    env = NavigateVectorEnv(ENVS, SCENARIO, robot, autoreset_mode="Disabled")
    try:
        observation, _ = env.reset(seed=list(range(ENVS)))
        ahead = np.zeros((ENVS, len(robot.action_names)), np.float32)
        ahead[:, 0] = 0.2
        moments = []
        for _ in range(STEPS):
            moments.append((_kept(observation), [{**s.info(), "embodiment": robot} for s in env.simulations]))
            observation, *_ = env.step(ahead)
        return moments
    finally:
        env.close()


def _kept(observation: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if name == "instruction" else value.copy() for name, value in observation.items()}


def _with_env(moment: Moment, target: int, source: int) -> Moment:
    """The moment with one env showing what another shows."""
    observation, infos = _kept(moment[0]), list(moment[1])
    for value in observation.values():
        value[target] = value[source]
    infos[target] = infos[source]
    return observation, infos
