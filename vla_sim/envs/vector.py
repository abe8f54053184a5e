"""Several worlds in one process, drawn in one frame: the vector entry point of `VLASim/Navigate-v0`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Outcome, Scene
from vla_sim.envs.navigate import reward_of
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.simulation import Simulation, checked_action
from vla_sim.envs.spaces import action_space, observation_space
from vla_sim.scenarios import Scenario
from vla_sim.sim.camera import make_renderer

Observation = dict[str, Any]


class NavigateVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """`num_envs` lanes, each a world of its own; see `NavigateEnv` for spaces, rewards and ends.

    Observations: `image` uint8 (N, H, W, 3), `instruction` tuple of N strings, `state` float32 (N, 6).
    A lane gives the same episode bit for bit as a single env with the same seed and actions.

    Autoreset: NEXT_STEP as Gymnasium's default, or DISABLED, where finished lanes wait until
    `reset(options={"reset_mask": bool (N,)})`. `options={"scenes": sequence of N Scene or None}` starts given scenes.
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "obstacle_left",
        embodiment: str | Embodiment = "serbot",
        *,
        instruction_set: str = "train",
        language: str | None = None,
        renderer: str = "software",
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise UserError("autoreset_mode SAME_STEP is not offered; choose NEXT_STEP or DISABLED")
        self.source = SceneSource(scenario, embodiment, instruction_set, language)
        self.embodiment = self.source.embodiment
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.single_action_space = action_space(self.embodiment)
        self.single_observation_space = observation_space(self.embodiment)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.lanes = [Simulation(self.embodiment) for _ in range(num_envs)]
        self._renderer = make_renderer(self.embodiment.camera.image_px, num_envs, name=renderer)
        self._gaps_m = np.zeros(num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes in all lanes, or in those of `options["reset_mask"]`."""
        options = options or {}
        mask = np.asarray(options.get("reset_mask", np.ones(self.num_envs, dtype=bool)), dtype=bool)
        scenes = options.get("scenes") or [None] * self.num_envs
        seeds = self._seed_list(seed)
        started = np.flatnonzero(mask).tolist()
        for lane in started:
            if seeds[lane] is not None:
                self._rngs[lane] = np.random.default_rng(seeds[lane])
            self._start(lane, self.source.next_scene(seeds[lane], scenes[lane], self._rngs[lane]))
        return self._observe(started), self._infos(mask)

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive every running lane for one control step."""
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        running = [lane for lane, s in enumerate(self.lanes) if s.scene is not None and s.outcome is None]
        restarted = self._begin_again([lane for lane in range(self.num_envs) if lane not in running])
        for lane in running:
            simulation = self.lanes[lane]
            simulation.advance(checked_action(actions[lane], self.embodiment))
            gap_m = simulation.goal_gap_m
            rewards[lane] = reward_of(self._gaps_m[lane] - gap_m, simulation.outcome)
            self._gaps_m[lane] = gap_m
            truncated[lane] = simulation.outcome is Outcome.TIMEOUT
            terminated[lane] = simulation.outcome is not None and not truncated[lane]
        everywhere = np.ones(self.num_envs, dtype=bool)
        return self._observe(running + restarted), rewards, terminated, truncated, self._infos(everywhere)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The camera pictures of all lanes."""
        return tuple(self._renderer.render().copy()) if self.render_mode == "rgb_array" else None

    def close_extras(self, **_: Any) -> None:
        """Give physics and pictures back."""
        for simulation in self.lanes:
            simulation.close()
        self._renderer.close()

    def _seed_list(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + lane for lane in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise UserError(f"{self.num_envs} lanes need {self.num_envs} seeds, got {len(seed)}")
        return seed

    def _start(self, lane: int, scene: Scene) -> None:
        self.lanes[lane].start(scene)
        self._renderer.load(lane, scene, self.embodiment.camera)
        self._gaps_m[lane] = self.lanes[lane].goal_gap_m

    def _begin_again(self, ended: list[int]) -> list[int]:
        """Start anew in lanes that have ended, if that is our part; returns those that were."""
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            return []
        for lane in ended:
            self._start(lane, self.source.next_scene(None, None, self._rngs[lane]))
        return ended

    def _observe(self, changed: list[int]) -> Observation:
        """What all lanes see; the picture of a lane that has not changed is not drawn again."""
        for lane in changed:
            self._renderer.place(lane, self.lanes[lane].pose, self.lanes[lane].moved())
        states = [s.state() if s.scene is not None else np.zeros(6, np.float32) for s in self.lanes]
        texts = tuple(s.scene.instruction.text if s.scene is not None else "" for s in self.lanes)
        return {"image": self._renderer.render().copy(), "instruction": texts, "state": np.stack(states)}

    def _infos(self, mask: np.ndarray) -> dict[str, Any]:
        """Infos as Gymnasium batches them: an array for each key, and one of where it holds, named `_key`."""
        shown = [lane for lane in np.flatnonzero(mask).tolist() if self.lanes[lane].scene is not None]
        rows = [self.lanes[lane].info() for lane in shown]
        there = np.zeros(self.num_envs, dtype=bool)
        there[shown] = True
        infos: dict[str, Any] = {}
        for key in rows[0] if rows else ():
            infos[key], infos[f"_{key}"] = self._column([row[key] for row in rows], shown), there.copy()
        return infos

    def _column(self, values: list[Any], lanes: list[int]) -> np.ndarray:
        first = values[0]
        if isinstance(first, np.ndarray):
            column = np.zeros((self.num_envs, *first.shape), dtype=first.dtype)
        elif isinstance(first, (bool, int, float)):
            column = np.zeros(self.num_envs, dtype=type(first))
        else:
            column = np.full(self.num_envs, None, dtype=object)
        for lane, value in zip(lanes, values, strict=True):
            column[lane] = value
        return column
