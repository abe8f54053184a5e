"""The closed loop: one policy, one vector env, a list of jobs. The only place where policies and envs meet."""

from __future__ import annotations

import hashlib
import statistics
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from vla_sim.core.geometry import clearances, resample
from vla_sim.core.planner import Planner, realised_side
from vla_sim.core.types import Outcome, Pose2, Scene
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.simulation import ActionError, Simulation, checked_action
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import Policy
from vla_sim.rollout.plan import Job, Plan
from vla_sim.rollout.result import EpisodeResult

# Spacing in metres at which clearance is measured along the driven path.
CLEARANCE_SPACING_M = 0.02


@dataclass
class Drive:
    """An episode while it runs."""

    job: Job
    scene: Scene
    path: list[tuple[float, float, float]]
    actions: list[tuple[float, ...]] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    diagnostics: dict[str, list[float]] = field(default_factory=dict)
    pictures: Any = field(default_factory=xxhash.xxh3_128)

    def see(self, image: np.ndarray) -> None:
        """Add an observed picture to the hash."""
        self.pictures.update(image)

    def note(self, diagnostics: Mapping[str, np.ndarray], lane: int) -> None:
        """Keep what the policy says about its own decision."""
        for name, values in diagnostics.items():
            self.diagnostics.setdefault(name, []).append(round(float(np.mean(values[lane])), 6))


class Rollout:
    """Runs jobs in the lanes of one env, refilling each lane when its episode ends.

    Args:
        plan: gives embodiment, phrasings and renderer.
        policy: already loaded.
        policy_hash: identifies it in the records.
        lanes: worlds side by side. Always all of them are in a batch, running or not.
        on_step: called after every step (a sign of life).
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        policy_hash: str,
        *,
        lanes: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._policy_hash = policy_hash
        self._on_step = on_step
        self._sources: dict[str, SceneSource] = {}
        self.env = NavigateVectorEnv(
            lanes,
            plan_scenario(plan),
            plan.embodiment,
            instruction_set=plan.instruction_set,
            language=plan.language,
            renderer=plan.renderer,
            autoreset_mode="Disabled",
        )
        check_spec(policy, self.env)

    def run(self, jobs: Iterable[Job], on_record: Callable[[EpisodeResult], None]) -> None:
        """Run every job; hand each record over as soon as its episode ends.

        Raises whatever the policy raises: the caller decides which episode is to blame.
        """
        waiting = deque(jobs)
        running: list[Drive | None] = [None] * self.env.num_envs
        observation = self._refill(waiting, running, on_record)
        while any(running):
            actions = self._decide(observation, running)
            running = self._take_actions(actions, running, on_record)
            observation, *_ = self.env.step(actions)
            self._record_step(observation, running)
            for lane, drive in enumerate(running):
                if drive is not None and self.env.lanes[lane].outcome is not None:
                    on_record(self._finished(drive, self.env.lanes[lane]))
                    running[lane] = None
            if waiting and not all(running):
                observation = self._refill(waiting, running, on_record)
            self._on_step()

    def close(self) -> None:
        """Give the env back."""
        self.env.close()

    def _refill(
        self, waiting: deque[Job], running: list[Drive | None], on_record: Callable[[EpisodeResult], None]
    ) -> dict[str, Any]:
        lanes = self.env.num_envs
        mask, seeds = np.zeros(lanes, dtype=bool), np.zeros(lanes, dtype=np.int64)
        scenes: list[Scene | None] = [None] * lanes
        for lane in range(lanes):
            if running[lane] is None and waiting:
                job = waiting.popleft()
                scenes[lane] = scene = self.scene_of(job)
                mask[lane], seeds[lane] = True, job.seed
                running[lane] = Drive(job, scene, [])
        observation, _ = self.env.reset(options={"reset_mask": mask, "scenes": scenes})
        self._policy.reset(mask, seeds)
        for lane in np.flatnonzero(mask).tolist():
            drive = running[lane]
            assert drive is not None
            drive.path.append(_as_tuple(self.env.lanes[lane].pose))
            drive.see(observation["image"][lane])
        return observation

    def scene_of(self, job: Job) -> Scene:
        """The scene that a job runs in."""
        return self._source(job.scenario).scene(job.seed)

    def _source(self, scenario: str) -> SceneSource:
        if scenario not in self._sources:
            plan = self._plan
            self._sources[scenario] = SceneSource(scenario, self.env.embodiment, plan.instruction_set, plan.language)
        return self._sources[scenario]

    def _decide(self, observation: dict[str, Any], running: list[Drive | None]) -> Any:
        infos = self._truths() if self._policy.spec.requires_privileged_info else None
        shown = {**observation, "instruction": list(observation["instruction"])}
        begin = time.perf_counter()
        actions = self._policy.act(shown, infos)
        share_ms = (time.perf_counter() - begin) * 1e3 / sum(d is not None for d in running)
        expected = (self.env.num_envs, len(self.env.embodiment.action_names))
        shape = np.shape(actions)
        if shape != expected:
            raise ActionError(f"act must return actions of shape {expected}, got {shape}")
        diagnostics = self._policy.diagnostics()
        for lane, drive in enumerate(running):
            if drive is not None:
                drive.inference_ms.append(share_ms)
                drive.note(diagnostics, lane)
        return actions

    def _truths(self) -> list[dict[str, Any]]:
        started = [s.info() if s.scene is not None else {} for s in self.env.lanes]
        return [{**info, "embodiment": self.env.embodiment} for info in started]

    def _take_actions(
        self, actions: Any, running: list[Drive | None], on_record: Callable[[EpisodeResult], None]
    ) -> list[Drive | None]:
        """Note the actions that will be executed; end the episodes whose action cannot be. The others go on."""
        left = list(running)
        for lane, drive in enumerate(running):
            if drive is None:
                continue
            try:
                executed = checked_action(actions[lane], self.env.embodiment)
            except ActionError:
                simulation = self.env.lanes[lane]
                simulation.outcome = Outcome.ERROR
                on_record(self._finished(drive, simulation, error=traceback.format_exc(limit=1)))
                left[lane] = None
            else:
                drive.actions.append(tuple(executed.tolist()))
        return left

    def _record_step(self, observation: dict[str, Any], running: list[Drive | None]) -> None:
        for lane, drive in enumerate(running):
            if drive is not None:
                drive.path.append(_as_tuple(self.env.lanes[lane].pose))
                drive.see(observation["image"][lane])

    def _finished(self, drive: Drive, simulation: Simulation, error: str | None = None) -> EpisodeResult:
        source = self._source(drive.job.scenario)
        assert simulation.outcome is not None
        return EpisodeResult.of(
            {
                **story_of(drive.job, drive.scene, source, self._plan),
                **measures_of(drive, self.env.embodiment.body.radius_m),
                "policy_hash": self._policy_hash,
                "privileged": self._policy.spec.requires_privileged_info,
                "outcome": simulation.outcome,
                "steps": len(drive.actions),
                "sim_time_s": simulation.time_s,
                "collision_partner": simulation.collision_partner,
                "collision_events": simulation.collision_events,
                "error": error,
                "diagnostics": drive.diagnostics,
                "inference_ms": statistics.median(drive.inference_ms) if drive.inference_ms else None,
            }
        )


def plan_scenario(plan: Plan) -> str:
    """Any scenario of the plan: scenes are handed to the env one by one."""
    return plan.scenarios[0]


def check_spec(policy: Policy, env: NavigateVectorEnv) -> None:
    """Refuse a policy whose actions or pictures are not those of the env.

    Raises:
        ActionError: names what differs.
    """
    spec, embodiment = policy.spec, env.embodiment
    if spec.action_names and tuple(spec.action_names) != embodiment.action_names:
        raise ActionError(
            f"the policy gives actions {list(spec.action_names)}, "
            f"{embodiment.name} takes {list(embodiment.action_names)}"
        )
    if spec.image_px and tuple(spec.image_px) != embodiment.camera.image_px:
        raise ActionError(
            f"the policy reads {spec.image_px} pictures, "
            f"the camera of {embodiment.name} gives {embodiment.camera.image_px}"
        )


def story_of(job: Job, scene: Scene, source: SceneSource, plan: Plan) -> dict[str, Any]:
    """The part of a result that is known before the episode runs."""
    return {
        "policy": job.policy,
        "scenario": job.scenario,
        "suite": job.suite,
        "scenario_hash": source.scenario.hash,
        "embodiment": plan.embodiment,
        "embodiment_hash": source.embodiment.content_hash,
        "step_s": source.embodiment.control_s,
        "seed": job.seed,
        "index": job.index,
        "instruction": scene.instruction.text,
        "language": scene.instruction.language,
        "phrasing": scene.instruction.phrasing,
        "asked_side": scene.task.side,
    }


def measures_of(drive: Drive, robot_radius_m: float) -> dict[str, Any]:
    """What is computed from the driven path, from ground truth."""
    planner = Planner(drive.scene, robot_radius_m)
    path = np.array(drive.path)
    gaps = clearances(drive.scene, resample(path[:, :2], CLEARANCE_SPACING_M), robot_radius_m)
    return {
        "path": tuple(drive.path),
        "actions": tuple(drive.actions),
        "path_length_m": float(np.linalg.norm(np.diff(path[:, :2], axis=0), axis=1).sum()),
        "expert_path_length_m": planner.distance(path[0, 0], path[0, 1]),
        "final_distance_m": planner.distance(path[-1, 0], path[-1, 1]),
        "min_clearance_m": float(gaps.min()),
        "clearance_p5_m": float(np.percentile(gaps, 5)),
        "realised_side": realised_side(drive.scene, path[:, :2]),
        "picture_hash": drive.pictures.hexdigest(),
        "state_hash": hashlib.sha256(path.tobytes()).hexdigest(),
    }


def _as_tuple(pose: Pose2) -> tuple[float, float, float]:
    return (pose.x_m, pose.y_m, pose.yaw_rad)
