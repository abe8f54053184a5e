"""Vector envs for Stable-Baselines3: `NavigateVectorEnv` with that library's conventions.

    from stable_baselines3 import PPO
    from vla_sim.envs.sb3 import PrivilegedVecEnv

    model = PPO("MlpPolicy", PrivilegedVecEnv("obstacle_left", num_envs=16), seed=0)
    model.learn(100_000)

Importing this module loads Stable-Baselines3 and torch (extra `rl`); nothing else in `vla_sim.envs` imports it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from vla_sim.core.errors import UserError
from vla_sim.core.privileged import PRIVILEGED_NAMES, left_handed, privileged_vector
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Outcome, Scene
from vla_sim.envs.checks import checked_options
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource
from vla_sim.envs.simulation import STATE_NAMES, Simulation, action_bounds
from vla_sim.envs.vector import NavigateVectorEnv, Observation

# Where the twist begins in what a simulation's own sensors tell.
TWIST = STATE_NAMES.index("vx_mps")
ALL_TRAINING_SEEDS = range(FIRST_EVALUATION_SEED)

# From {"image" uint8 (N, H, W, 3), "instruction" N texts, "state" float32 (N, 6), "env_index" N numbers, "started" N
# booleans: which of them have begun a new episode} to features float32 (N, F).
Encode = Callable[[Mapping[str, Any]], np.ndarray]


class NavigateVecEnv(VecEnv):
    """A `NavigateVectorEnv` with the conventions of Stable-Baselines3. The envs below differ in what is observed.

    When the episode of an env ends, it starts the next one at once: `infos[i]` then holds `terminal_observation`,
    `TimeLimit.truncated` (true only for the scenario's time limit), `is_success`, `outcome`, `scenario` and `seed`.
    Scenarios are drawn anew for each episode, and so are scenes, from training seeds.

    Action space: `Box(-1, 1)`, shares of the embodiment's full speed in the order of its action names: 1 is
    `max_mps` or `max_radps`. Values outside are clipped.

    Args:
        scenarios: one name, path or several.
        num_envs: how many.
        embodiment: name, path or `Embodiment`.
        observation_space: of one env.
        instruction_set: "train" or "eval" phrasings.
        language: e.g. "ko"; None for each scenario's mix.
        seeds: of the scenes that are driven; below 100000, for the others are for evaluation.
        renderer: see `vla_sim.sim.renderers.make_renderer`; None where no image is observed.

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
        renderer: str | None = None,
    ) -> None:
        names = [scenarios] if isinstance(scenarios, str) else list(scenarios)
        _check(names, num_envs, seeds)
        self.env = NavigateVectorEnv(
            num_envs,
            names[0],
            embodiment,
            renderer=renderer or "software",
            images=renderer is not None,
            autoreset_mode="Disabled",
        )
        self.embodiment = self.env.embodiment
        self.sources = [SceneSource(name, self.embodiment, instruction_set, language) for name in names]
        self.seeds = seeds
        # Asked for by the constructor of VecEnv.
        self.render_mode = None
        self._scale = action_bounds(self.embodiment).astype(np.float64)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._actions = np.zeros((num_envs, len(self._scale)))
        super().__init__(num_envs, observation_space, spaces.Box(-1.0, 1.0, (len(self._scale),), np.float32))

    @property
    def simulations(self) -> list[Simulation]:
        """The simulations, one for each env."""
        return self.env.simulations

    @abstractmethod
    def _observed(self, seen: Observation, indices: Sequence[int]) -> np.ndarray:
        """Observations (len(indices), ...) of these envs, made of what the vector env gave."""

    def reset(self) -> np.ndarray:
        """Start all envs anew. The seeds of `seed` decide which scenes they will see from here on.

        Raises:
            UserError: options, of which there are none.
        """
        for options in self._options:
            checked_options(options, ())
        for index, seed in enumerate(self._seeds):
            if seed is not None:
                self._rngs[index] = np.random.default_rng(seed)
        seen, _ = self.env.reset(options={"scenes": [self._drawn(index) for index in range(self.num_envs)]})
        self.reset_infos = [self._story(index) for index in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return self._observed(seen, range(self.num_envs))

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions (num_envs, A) that `step_wait` will execute."""
        self._actions = np.asarray(actions, dtype=np.float64)
        if self._actions.shape != (self.num_envs, len(self._scale)):
            raise UserError(f"actions must have shape {(self.num_envs, len(self._scale))}, got {self._actions.shape}")

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Drive all envs for one control step; those whose episodes end start anew."""
        seen, rewards, terminated, truncated, _ = self.env.step(self._actions * self._scale)
        observations, dones = self._observed(seen, range(self.num_envs)), terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(dones).tolist()
        for index in ended:
            infos[index] = {**self._ending(index), "terminal_observation": observations[index].copy()}
        if ended:
            scenes = [self._drawn(index) if dones[index] else None for index in range(self.num_envs)]
            seen, _ = self.env.reset(options={"reset_mask": dones, "scenes": scenes})
            observations[ended] = self._observed(seen, ended)
        for index in ended:
            self.reset_infos[index] = self._story(index)
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Give physics and renderer back."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this env, once for each env."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not offered: envs have no attributes of their own."""
        raise UserError(f"the envs of {type(self).__name__} have no attributes to set, got {attr_name!r}")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not offered: envs have no methods of their own."""
        raise UserError(f"the envs of {type(self).__name__} have no methods to call, got {method_name!r}")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never: these are no Gymnasium envs."""
        return [False for _ in self._get_indices(indices)]

    def _drawn(self, index: int) -> Scene:
        """The scene of the next episode of an env."""
        rng = self._rngs[index]
        source = self.sources[int(rng.integers(len(self.sources)))]
        return source.scene(self.seeds[int(rng.integers(len(self.seeds)))])

    def _story(self, index: int) -> dict[str, Any]:
        scene = self.simulations[index].scene
        assert scene is not None
        return {"scenario": scene.scenario, "seed": scene.seed}

    def _ending(self, index: int) -> dict[str, Any]:
        outcome = self.simulations[index].outcome
        assert outcome is not None
        return {
            **self._story(index),
            "TimeLimit.truncated": outcome is Outcome.TIMEOUT,
            "is_success": outcome is not None and outcome.succeeded,
            "outcome": outcome.value,
        }


class PrivilegedVecEnv(NavigateVecEnv):
    """Observes privileged state, float32 (46,): see `core.privileged.PRIVILEGED_NAMES`. Nothing is drawn: fast."""

    def __init__(
        self,
        scenarios: str | Sequence[str] = "obstacle_left",
        num_envs: int = 8,
        embodiment: str | Embodiment = "serbot",
        *,
        seeds: range = ALL_TRAINING_SEEDS,
    ) -> None:
        space = spaces.Box(-np.inf, np.inf, (len(PRIVILEGED_NAMES),), np.float32)
        super().__init__(scenarios, num_envs, embodiment, space, seeds=seeds)

    def _observed(self, seen: Observation, indices: Sequence[int]) -> np.ndarray:
        return np.stack([self._truth(self.simulations[index]) for index in indices])

    def _truth(self, simulation: Simulation) -> np.ndarray:
        assert simulation.scene is not None
        twist = simulation.state()[TWIST:].tolist()
        return privileged_vector(simulation.scene, simulation.pose, twist, self.embodiment.body.radius_m)


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
    """Observes what a frozen encoder makes of image and instruction, float32 (F,). All envs are drawn in one frame.

    Args:
        encode: see `Encode`; for learned policies, `vla_sim.training.ppo_heads.HeadStart.encode`.
        feature_dim: F.
        scenarios, num_envs, embodiment, instruction_set, language, seeds: see `NavigateVecEnv`.
        renderer: see `vla_sim.sim.renderers.make_renderer`.
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
            *(scenarios, num_envs, embodiment, space),
            instruction_set=instruction_set,
            language=language,
            seeds=seeds,
            renderer=renderer,
        )
        self._encode = encode
        self._started: set[int] = set()

    def _drawn(self, index: int) -> Scene:
        self._started.add(index)
        return super()._drawn(index)

    def _observed(self, seen: Observation, indices: Sequence[int]) -> np.ndarray:
        chosen = {
            "image": seen["image"][list(indices)],
            "instruction": [seen["instruction"][index] for index in indices],
            "state": seen["state"][list(indices)],
            "env_index": list(indices),
            "started": [index in self._started for index in indices],
        }
        self._started.difference_update(indices)
        return np.array(self._encode(chosen), dtype=np.float32)


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
