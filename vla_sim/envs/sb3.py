"""Vector envs for Stable-Baselines3: several worlds in one process, with that library's conventions.

    from stable_baselines3 import PPO
    from vla_sim.envs.sb3 import PrivilegedVecEnv

    model = PPO("MlpPolicy", PrivilegedVecEnv("obstacle_left", num_envs=16), seed=0)
    model.learn(100_000)

Importing this module loads Stable-Baselines3 and torch (extra `rl`); nothing else in `vla_sim.envs` imports it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.privileged import TRUTH_NAMES, left_handed, truth_vector
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Outcome
from vla_sim.envs.navigate import reward_of
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource
from vla_sim.envs.simulation import STATE_NAMES, Simulation, action_bounds, checked_action
from vla_sim.sim.camera import make_renderer

# Where the twist begins in what a simulation's own sensors tell.
TWIST = STATE_NAMES.index("vx_mps")
ALL_TRAINING_SEEDS = range(FIRST_EVALUATION_SEED)

# From {"image" uint8 (N, H, W, 3), "instruction" N texts, "state" float32 (N, 6)} to features float32 (N, F).
Encode = Callable[[Mapping[str, Any]], np.ndarray]


class NavigateVecEnv(VecEnv):
    """What the envs below share: worlds, rewards, ends, seeds. They differ in what is observed.

    Every lane is a world of its own. When its episode ends, it starts the next one at once: `infos[lane]` then holds
    `terminal_observation`, `TimeLimit.truncated` (true only for the scenario's time limit), `is_success`, `outcome`,
    `scenario` and `seed`. Scenarios are drawn anew for each episode, and so are worlds, from training seeds.
    Rewards and ends are those of `NavigateEnv`.

    Action space: `Box(-1, 1)`, shares of the embodiment's full speed in the order of its action names: 1 is
    `max_mps` or `max_radps`. Values outside are clipped.

    Args:
        scenarios: one name, path or several.
        num_envs: lanes.
        embodiment: name, path or `Embodiment`.
        observation_space: of one lane.
        instruction_set: "train" or "eval" phrasings.
        language: None for both, "en" or "ko".
        seeds: worlds that are driven; below 100000, for the others are for evaluation.

    Raises:
        UserError: unknown names, or seeds that are for evaluation.
    """

    def __init__(
        self,
        scenarios: str | Sequence[str],
        num_envs: int,
        embodiment: str | Embodiment,
        observation_space: spaces.Box,
        *,
        instruction_set: str = "train",
        language: str | None = None,
        seeds: range = ALL_TRAINING_SEEDS,
    ) -> None:
        names = [scenarios] if isinstance(scenarios, str) else list(scenarios)
        _check(names, num_envs, seeds)
        self.embodiment = load_embodiment(embodiment) if isinstance(embodiment, str) else embodiment
        self.sources = [SceneSource(name, self.embodiment, instruction_set, language) for name in names]
        self.seeds = seeds
        # Asked for by the constructor of VecEnv.
        self.render_mode = None
        self.lanes = [Simulation(self.embodiment) for _ in range(num_envs)]
        self._scale = action_bounds(self.embodiment).astype(np.float64)
        self._gaps_m = np.zeros(num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._actions = np.zeros((num_envs, len(self._scale)))
        super().__init__(num_envs, observation_space, spaces.Box(-1.0, 1.0, (len(self._scale),), np.float32))

    @abstractmethod
    def _observe(self, changed: Sequence[int]) -> np.ndarray:
        """Observations (len(changed), ...) of these lanes, which have moved since they were last observed."""

    def _loaded(self, lane: int) -> None:
        """A lane has begun a new episode."""

    def reset(self) -> np.ndarray:
        """Start all lanes anew. The seeds of `seed` decide which worlds they will see from here on."""
        for lane, seed in enumerate(self._seeds):
            if seed is not None:
                self._rngs[lane] = np.random.default_rng(seed)
            self._start(lane)
        self.reset_infos = [self._story(lane) for lane in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return self._observe(range(self.num_envs))

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions (num_envs, A) that `step_wait` will execute."""
        self._actions = np.asarray(actions, dtype=np.float64)
        if self._actions.shape != (self.num_envs, len(self._scale)):
            raise UserError(f"actions must have shape {(self.num_envs, len(self._scale))}, got {self._actions.shape}")

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Drive all lanes for one control step; those that end start anew."""
        rewards = np.array([self._drive(lane) for lane in range(self.num_envs)], dtype=np.float32)
        dones = np.array([simulation.outcome is not None for simulation in self.lanes])
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        observations = self._observe(range(self.num_envs))
        ended = np.flatnonzero(dones).tolist()
        for lane in ended:
            infos[lane] = {**self._ending(lane), "terminal_observation": observations[lane].copy()}
            self._start(lane)
            self.reset_infos[lane] = self._story(lane)
        if ended:
            observations[ended] = self._observe(ended)
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Give physics back."""
        for simulation in self.lanes:
            simulation.close()
        self.lanes = []

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this env, once for each lane."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not offered: lanes have no attributes of their own."""
        raise UserError(f"the lanes of {type(self).__name__} have no attributes to set, got {attr_name!r}")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not offered: lanes have no methods of their own."""
        raise UserError(f"the lanes of {type(self).__name__} have no methods to call, got {method_name!r}")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never: lanes are no Gymnasium envs."""
        return [False for _ in self._get_indices(indices)]

    def _start(self, lane: int) -> None:
        rng = self._rngs[lane]
        source = self.sources[int(rng.integers(len(self.sources)))]
        self.lanes[lane].start(source.scene(self.seeds[int(rng.integers(len(self.seeds)))]))
        self._gaps_m[lane] = self.lanes[lane].goal_gap_m
        self._loaded(lane)

    def _drive(self, lane: int) -> float:
        simulation = self.lanes[lane]
        simulation.advance(checked_action(self._actions[lane] * self._scale, self.embodiment))
        gap_m = simulation.goal_gap_m
        reward = reward_of(self._gaps_m[lane] - gap_m, simulation.outcome)
        self._gaps_m[lane] = gap_m
        return reward

    def _story(self, lane: int) -> dict[str, Any]:
        scene = self.lanes[lane].scene
        assert scene is not None
        return {"scenario": scene.scenario, "seed": scene.seed}

    def _ending(self, lane: int) -> dict[str, Any]:
        outcome = self.lanes[lane].outcome
        assert outcome is not None
        return {
            **self._story(lane),
            "TimeLimit.truncated": outcome is Outcome.TIMEOUT,
            "is_success": outcome is Outcome.SUCCESS,
            "outcome": outcome.value,
        }


class PrivilegedVecEnv(NavigateVecEnv):
    """Observes ground truth, float32 (46,): see `vla_sim.core.privileged.TRUTH_NAMES`. Nothing is drawn: fast."""

    def __init__(
        self,
        scenarios: str | Sequence[str] = "obstacle_left",
        num_envs: int = 8,
        embodiment: str | Embodiment = "serbot",
        *,
        seeds: range = ALL_TRAINING_SEEDS,
    ) -> None:
        space = spaces.Box(-np.inf, np.inf, (len(TRUTH_NAMES),), np.float32)
        super().__init__(scenarios, num_envs, embodiment, space, seeds=seeds)

    def _observe(self, changed: Iterable[int]) -> np.ndarray:
        return np.stack([self._truth(self.lanes[lane]) for lane in changed])

    def _truth(self, simulation: Simulation) -> np.ndarray:
        assert simulation.scene is not None
        twist = simulation.state()[TWIST:].tolist()
        return truth_vector(simulation.scene, simulation.pose, twist, self.embodiment.body.radius_m)


class LeftHandedVecEnv(VecEnvWrapper):
    """Around a `PrivilegedVecEnv`: worlds whose task says right are seen, and driven, as their mirrored twins.

    What is learned on one side holds on the other. Without it PPO tends to learn one side and to give the other up.
    """

    def __init__(self, venv: PrivilegedVecEnv) -> None:
        super().__init__(venv)
        self._names = venv.embodiment.action_names
        self._signs = np.ones((venv.num_envs, len(self._names)), dtype=np.float32)

    def reset(self) -> np.ndarray:
        """See `NavigateVecEnv`."""
        return self._turned(np.asarray(self.venv.reset()))

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions in the worlds as they were last seen."""
        self.venv.step_async(actions * self._signs)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """See `NavigateVecEnv`."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = left_handed(info["terminal_observation"][None], self._names)[0][0]
        return self._turned(np.asarray(observations)), rewards, dones, infos

    def _turned(self, observations: np.ndarray) -> np.ndarray:
        seen, self._signs = left_handed(observations, self._names)
        return seen


class FeatureVecEnv(NavigateVecEnv):
    """Observes what a frozen encoder makes of picture and instruction, float32 (F,). All lanes are drawn in one frame.

    Args:
        encode: see `Encode`; for the shipped policies, `vla_sim.policies.clip_policy.Encoder.features`.
        feature_dim: F.
        scenarios, num_envs, embodiment, instruction_set, language, seeds: see `NavigateVecEnv`.
        renderer: see `vla_sim.sim.camera.make_renderer`.
    """

    def __init__(
        self,
        encode: Encode,
        feature_dim: int,
        scenarios: str | Sequence[str] = "obstacle_left",
        num_envs: int = 8,
        embodiment: str | Embodiment = "serbot",
        *,
        instruction_set: str = "train",
        language: str | None = None,
        seeds: range = ALL_TRAINING_SEEDS,
        renderer: str = "software",
    ) -> None:
        space = spaces.Box(-np.inf, np.inf, (feature_dim,), np.float32)
        super().__init__(
            *(scenarios, num_envs, embodiment, space), instruction_set=instruction_set, language=language, seeds=seeds
        )
        self._encode = encode
        self._renderer = make_renderer(self.embodiment.camera.image_px, num_envs, name=renderer)

    def close(self) -> None:
        """Give physics and pictures back."""
        super().close()
        self._renderer.close()

    def _loaded(self, lane: int) -> None:
        scene = self.lanes[lane].scene
        assert scene is not None
        self._renderer.load(lane, scene, self.embodiment.camera)

    def _observe(self, changed: Sequence[int]) -> np.ndarray:
        for lane in changed:
            self._renderer.place(lane, self.lanes[lane].pose, self.lanes[lane].moved())
        shown = [self.lanes[lane] for lane in changed]
        observation = {
            "image": self._renderer.render()[list(changed)],
            "instruction": [s.scene.instruction.text for s in shown if s.scene is not None],
            "state": np.stack([simulation.state() for simulation in shown]),
        }
        return np.array(self._encode(observation), dtype=np.float32)


def _check(scenarios: Sequence[str], num_envs: int, seeds: range) -> None:
    if not scenarios:
        raise UserError("name at least one scenario")
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, got {num_envs}")
    if not seeds or min(seeds) < 0 or max(seeds) >= FIRST_EVALUATION_SEED:
        raise UserError(
            f"seeds must lie in 0..{FIRST_EVALUATION_SEED - 1}, got {seeds}: those from {FIRST_EVALUATION_SEED} on are "
            "for evaluation"
        )
