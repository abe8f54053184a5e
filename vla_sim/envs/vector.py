"""Several scenes in one process, drawn in one frame: the vector entry point of `VLASim/Navigate-v1`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Outcome, Scene
from vla_sim.envs.checks import (
    NotStartedError,
    check_open,
    check_started,
    checked_count,
    checked_mask,
    checked_options,
    checked_scenes,
    checked_seeds,
)
from vla_sim.envs.navigate import reward_of
from vla_sim.envs.rendering import CAMERA, RGB_ARRAY, VIEW_PX, checked_render_mode, checked_view, rendered
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.sensing import Sensing
from vla_sim.envs.simulation import Simulation, checked_actions
from vla_sim.envs.spaces import action_space, observation_space
from vla_sim.scenarios import Scenario

Observation = dict[str, Any]
Step = tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class NavigateVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """`num_envs` envs, each a scene of its own; see `NavigateEnv` for spaces, rewards, ends and what is refused.

    Observations: `image` uint8 (N, H, W, 3), `instruction` tuple of N texts, `state` float32 (N, 6), sensors (N, ...).
    An env gives the same episode bit for bit as a single env with the same seed and actions.

    Autoreset: NEXT_STEP as Gymnasium's default, or DISABLED, where finished envs must be reset before the next step by
    `reset(options={"reset_mask": bool array (N,)})`. `options={"scenes": sequence of N Scene or None}` starts given
    scenes. What is refused is refused before any env has moved.

    Args:
        num_envs: how many.
        scenario, embodiment, instruction_set, language, renderer, render_mode, render_view: see `NavigateEnv`; without
            windows.
        autoreset_mode: see above.
        images: False leaves `image`, further cameras and depth out: nothing is drawn, which is many times as fast.
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | PathLike[str] | Scenario = "obstacle_left",
        embodiment: str | PathLike[str] | Embodiment = "serbot",
        *,
        instruction_set: str = "train",
        language: str | None = None,
        renderer: str = "software",
        render_mode: str | None = None,
        render_view: str = CAMERA,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        images: bool = True,
    ) -> None:
        self.num_envs = num_envs = checked_count(num_envs)
        self.autoreset_mode = _checked_autoreset(autoreset_mode)
        self.source = SceneSource(scenario, embodiment, instruction_set, language)
        self.embodiment = self.source.embodiment
        self.render_mode = checked_render_mode(render_mode, windows=False)
        self.render_view = checked_view(render_view)
        self.metadata = {
            "render_modes": [RGB_ARRAY],
            "render_fps": 1 / self.embodiment.control_s,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_action_space = action_space(self.embodiment)
        self.single_observation_space = observation_space(self.embodiment, images=images)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.simulations = [Simulation(self.embodiment) for _ in range(num_envs)]
        self._sensing = Sensing(self.embodiment, num_envs, renderer=renderer, images=images)
        self._images = images
        self._gaps_m = np.zeros(num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes in all envs, or in those of `options["reset_mask"]`."""
        check_open(self.closed, "reset")
        chosen = checked_options(options, ("reset_mask", "scenes"))
        mask = checked_mask(chosen.get("reset_mask"), self.num_envs)
        given = checked_scenes(chosen.get("scenes"), mask)
        seeds = checked_seeds(seed, self.num_envs)
        started = np.flatnonzero(mask).tolist()
        rngs = {i: self._rngs[i] if seeds[i] is None else np.random.default_rng(seeds[i]) for i in started}
        # All scenes before the first env starts: one that cannot be drawn leaves all envs as they were.
        scenes = {i: self.source.next_scene(seeds[i], given[i], rngs[i]) for i in started}
        for i in started:
            self._rngs[i] = rngs[i]
            self._start(i, scenes[i])
        return self._observe(started), self._infos(mask)

    def step(self, actions: np.ndarray) -> Step:
        """Drive every env for one control step; finished ones begin anew instead, where autoreset is on."""
        check_open(self.closed, "step")
        unstarted = [i for i, simulation in enumerate(self.simulations) if simulation.scene is None]
        finished = [i for i, simulation in enumerate(self.simulations) if simulation.outcome is not None]
        anew = self.autoreset_mode is AutoresetMode.NEXT_STEP
        check_started(unstarted, [] if anew else finished)
        return self._stepped(actions, finished)

    def step_running(self, actions: np.ndarray) -> Step:
        """Drive the envs whose episodes go on for one control step; finished and never started ones wait."""
        check_open(self.closed, "step_running")
        return self._stepped(actions, [])

    def _stepped(self, actions: np.ndarray, anew: list[int]) -> Step:
        running = np.array([s.scene is not None and s.outcome is None for s in self.simulations])
        checked = checked_actions(actions, self.embodiment, running)
        scenes = {i: self.source.next_scene(None, None, self._rngs[i]) for i in anew}
        for i, scene in scenes.items():
            self._start(i, scene)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        driven = np.flatnonzero(running).tolist()
        for i in driven:
            simulation = self.simulations[i]
            leg = simulation.leg
            simulation.advance(checked[i])
            gap_m = simulation.goal_gap_m
            nearer_m = self._gaps_m[i] - gap_m if simulation.leg == leg else 0.0
            rewards[i] = reward_of(nearer_m, simulation.outcome)
            self._gaps_m[i] = gap_m
            truncated[i] = simulation.outcome is Outcome.TIMEOUT
            terminated[i] = simulation.outcome is not None and not truncated[i]
        everywhere = np.ones(self.num_envs, dtype=bool)
        return self._observe([*driven, *anew]), rewards, terminated, truncated, self._infos(everywhere)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """What `render_view` shows of all envs; black where no episode has begun."""
        check_open(self.closed, "render")
        if self.render_mode is None:
            return None
        if not self._images:
            raise UserError("an env without images has nothing to render: make it with images=True")
        if all(simulation.scene is None for simulation in self.simulations):
            raise NotStartedError("there is no image yet: reset() comes before the first render()")
        return tuple(self._rendered(index) for index in range(self.num_envs))

    def _rendered(self, index: int) -> np.ndarray:
        if self.render_view == CAMERA or self.simulations[index].scene is not None:
            return rendered(self._sensing, index, self.render_view)
        width, height = VIEW_PX[self.render_view]
        return np.zeros((height, width, 3), np.uint8)

    def close_extras(self, **_: Any) -> None:
        """Give physics and renderer back."""
        for simulation in self.simulations:
            simulation.close()
        self._sensing.close()

    def _start(self, index: int, scene: Scene) -> None:
        self.simulations[index].start(scene)
        self._sensing.load(index, scene)
        self._gaps_m[index] = self.simulations[index].goal_gap_m

    def _observe(self, changed: list[int]) -> Observation:
        """What all envs see; the image of an env that has not changed is not drawn again."""
        states = [s.state() if s.scene is not None else np.zeros(6, np.float32) for s in self.simulations]
        texts = tuple(s.scene.instruction.text if s.scene is not None else "" for s in self.simulations)
        for index in changed:
            self._sensing.place(index, self.simulations[index])
        images = {"image": self._sensing.images().copy()} if self._images else {}
        return {**images, "instruction": texts, "state": np.stack(states), **self._sensing.read()}

    def _infos(self, mask: np.ndarray) -> dict[str, Any]:
        """Infos as Gymnasium batches them: an array for each key, and one of where it holds, named `_key`."""
        present = [i for i in np.flatnonzero(mask).tolist() if self.simulations[i].scene is not None]
        rows = [self.simulations[i].info() for i in present]
        there = np.zeros(self.num_envs, dtype=bool)
        there[present] = True
        infos: dict[str, Any] = {}
        for key in rows[0] if rows else ():
            infos[key], infos[f"_{key}"] = self._column([row[key] for row in rows], present), there.copy()
        return infos

    def _column(self, values: list[Any], indices: list[int]) -> np.ndarray:
        first = values[0]
        if isinstance(first, np.ndarray):
            column = np.zeros((self.num_envs, *first.shape), dtype=first.dtype)
        elif isinstance(first, (bool, int, float)):
            column = np.zeros(self.num_envs, dtype=type(first))
        else:
            column = np.full(self.num_envs, None, dtype=object)
        for index, value in zip(indices, values, strict=True):
            column[index] = value
        return column


def _checked_autoreset(mode: Any) -> AutoresetMode:
    offered = [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]
    for found in offered:
        if mode in (found, found.value):
            return found
    names = [found.value for found in offered]
    seen = mode.value if isinstance(mode, AutoresetMode) else mode
    raise UserError(f"autoreset_mode {shown(seen)} is not offered; {suggest(str(seen), names)}")
