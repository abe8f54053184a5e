"""`VLASim/Navigate-v1`: one robot, one world, one sentence."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import Any

import gymnasium
import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError
from vla_sim.core.seeds import checked_seed
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Instruction, Outcome
from vla_sim.envs.checks import NotStartedError, check_open, checked_options, checked_scene
from vla_sim.envs.conversions import register_conversions
from vla_sim.envs.rendering import CAMERA, HUMAN, Window, checked_render_mode, checked_view, render_modes, rendered
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.sensing import Sensing
from vla_sim.envs.simulation import Simulation, checked_action
from vla_sim.envs.spaces import action_space, observation_space
from vla_sim.scenarios import Scenario

register_conversions()

SUCCESS_REWARD = 5.0
FAILURE_REWARD = -2.0
STEP_REWARD = -0.02


def reward_of(progress_m: float, outcome: Outcome | None) -> float:
    """Metres that the gap to the goal shrank, minus a step cost, plus a bonus or malus at the end."""
    reward = progress_m + STEP_REWARD
    if outcome is not None and outcome.succeeded:
        reward += SUCCESS_REWARD
    elif outcome is not None and outcome is not Outcome.TIMEOUT:
        reward += FAILURE_REWARD
    return reward


class NavigateEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Drive a mobile robot to the goal that an instruction describes.

    ## Description
    A PyBullet world with walls, objects and a goal is sampled from a scenario; the robot sees it through its camera
    and is told one sentence, e.g. "Navigate around the obstacle on the left side and reach the cup".

    ## Action Space
    `Box(float32)`: body twist [vx, vy] or [vx, vy, wz] (or [vx, wz] for a differential drive), m/s and rad/s,
    x forward, y left, counter-clockwise; held for one control step (0.4 s for `serbot`). Values outside are clipped;
    NaN, infinity and wrong shapes raise `ActionError`.

    ## Observation Space
    `Dict`: `image` uint8 (224, 224, 3) RGB; `instruction` text; `state` float32 (6,): odometry x, y (m), yaw (rad) in
    the start frame, measured body twist vx, vy (m/s), wz (rad/s). Then what the embodiment has as `[sensors.NAME]`, by
    name: further cameras uint8 (H, W, 3), depth float32 (H, W) in m, LiDAR ranges float32 (rays,) in m.

    ## Rewards
    Progress towards the goal in metres, -0.02 a step, +5 for success, -2 for any failure but the time limit.

    ## Starting State
    Sampled from the scenario by the seed given to `reset`; without one, from a training seed below 100000 drawn from
    `np_random`. `options={"scene": Scene}` starts a given scene; other options are refused.

    ## Episode End
    Terminated on success, collision, leaving the arena, passing on the wrong side, reaching the wrong goal;
    truncated at the scenario's time limit. `info["outcome"]` names it.

    ## Arguments
    scenario: name or path; embodiment: name, path or `Embodiment`; instruction_set: "train" or "eval" phrasings;
    language: e.g. "ko", or None; renderer: "software", "gpu" or "tiny"; render_mode: "rgb_array", or "human"
    for a window (extra `render`); render_view: what `render()` shows: "camera", "chase" (from behind) or "above".

    ## Info
    Privileged state for judges and privileged policies, never part of the observation: `pose` (x, y, yaw),
    `goal_gap_m`, `is_success`, `outcome`, `reached`, `collision_partner`, `collision_events`, `sim_time_s`, `scene`.

    ## Misuse
    A step before `reset` or after the end, use after `close`, unknown options, seeds below 0 or from 2^63 on: one
    sentence each (`vla_sim.envs.checks`), before anything has moved.
    """

    metadata: dict[str, Any] = {"render_modes": render_modes(), "render_fps": 2.5}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        scenario: str | PathLike[str] | Scenario = "obstacle_left",
        embodiment: str | PathLike[str] | Embodiment = "serbot",
        *,
        instruction_set: str = "train",
        language: str | None = None,
        renderer: str = "software",
        render_mode: str | None = None,
        render_view: str = CAMERA,
    ) -> None:
        self.source = SceneSource(scenario, embodiment, instruction_set, language)
        self.embodiment = self.source.embodiment
        self.render_mode, self.render_view = checked_render_mode(render_mode), checked_view(render_view)
        self.action_space = action_space(self.embodiment)
        self.observation_space = observation_space(self.embodiment)
        self.metadata = {**self.metadata, "render_fps": 1 / self.embodiment.control_s}
        self.simulation = Simulation(self.embodiment)
        self._sensing = Sensing(self.embodiment, 1, renderer=renderer)
        self._gap_m = 0.0
        self._window = Window(self.metadata["render_fps"])
        self._closed = False

    @property
    def task_description(self) -> str:
        """The instruction of the present episode; empty before the first reset."""
        scene = self.simulation.scene
        return scene.instruction.text if scene else ""

    def say(self, text: str, *, refuse: bool = False) -> None:
        """Tell the robot something else from the next observation on.

        Args:
            text: the sentence.
            refuse: whether standing still is the right answer to it; else the robot is judged as before.

        Raises:
            UserError: not a text, or no episode is running.
        """
        if not isinstance(text, str):
            raise UserError(f"a sentence must be text, got {shown(text)}")
        scene = self.simulation.scene
        task = replace(scene.task, refuse=True) if scene and refuse else None
        self.simulation.say(Instruction(text, language=""), task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; see Starting State."""
        check_open(self._closed, "reset")
        given = checked_scene(checked_options(options, ("scene",)).get("scene"), "options['scene']")
        seed = None if seed is None else checked_seed(seed)
        super().reset(seed=seed)
        scene = self.source.next_scene(seed, given, self.np_random)
        self.simulation.start(scene)
        self._sensing.load(0, scene)
        info = self.simulation.info()
        self._gap_m = info["goal_gap_m"]
        return self._observe(), info

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Drive for one control step."""
        check_open(self._closed, "step")
        if self.simulation.scene is None or self.simulation.outcome is not None:
            over = "the episode is over" if self.simulation.scene else "there is no episode yet"
            raise NotStartedError(f"{over}: reset() comes before the next step()")
        leg = self.simulation.leg
        self.simulation.advance(checked_action(action, self.embodiment))
        info = self.simulation.info()
        outcome = self.simulation.outcome
        # Another goal is no progress and no setback.
        nearer_m = self._gap_m - info["goal_gap_m"] if self.simulation.leg == leg else 0.0
        reward = reward_of(nearer_m, outcome)
        self._gap_m = info["goal_gap_m"]
        ended = outcome is not None
        truncated = outcome is Outcome.TIMEOUT
        return self._observe(), reward, ended and not truncated, truncated, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """What `render_view` shows, uint8 (H, W, 3) RGB; None where it is shown in a window, or nothing is rendered."""
        check_open(self._closed, "render")
        if self.render_mode is None:
            return None
        if self.simulation.scene is None:
            raise NotStartedError("there is no image yet: reset() comes before the first render()")
        image = rendered(self._sensing, 0, self.render_view)
        if self.render_mode != HUMAN:
            return image
        self._window.show(image)
        return None

    def close(self) -> None:
        """Give physics and images back."""
        if not self._closed:
            self._closed = True
            self._window.close()
            self.simulation.close()
            self._sensing.close()

    def _observe(self) -> dict[str, Any]:
        simulation = self.simulation
        assert simulation.scene is not None
        self._sensing.place(0, simulation)
        if self.render_mode == HUMAN:
            self.render()
        return {
            "image": self._sensing.images()[0].copy(),
            "instruction": simulation.scene.instruction.text,
            "state": simulation.state(),
            **{name: readings[0] for name, readings in self._sensing.read().items()},
        }
