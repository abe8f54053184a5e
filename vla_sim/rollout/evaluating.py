"""The rollouts of an evaluation: a policy in the closed loop, and the result of each episode."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_sim.core.difficulty import difficulty
from vla_sim.core.geometry import clearances, resample
from vla_sim.core.planner import Planner, realised_side
from vla_sim.core.types import Scene
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import Policy
from vla_sim.rollout.facts import facts_of, legs_of, reached_of, sentences_of
from vla_sim.rollout.observers import Actions, Diagnostics, ImageHash, Observers, Path, Sentences
from vla_sim.rollout.plan import Job, Plan
from vla_sim.rollout.result import EpisodeResult
from vla_sim.rollout.rollout import Ended, Scenes, rollout
from vla_sim.rollout.steering import ByPolicy, Delayed, Steering

# Spacing in metres at which clearance is measured along the driven path.
CLEARANCE_SPACING_M = 0.02


@dataclass
class Facts(Observers):
    """What a result is computed from."""

    path: Path = field(default_factory=Path)
    images: ImageHash = field(default_factory=ImageHash)
    actions: Actions = field(default_factory=Actions)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    sentences: Sentences = field(default_factory=Sentences)


class EvaluationRollout:
    """One policy and one vector env, for any number of jobs.

    Args:
        plan: gives embodiment, phrasings, renderer and delay.
        policy: already loaded.
        policy_hash: identifies it in the results.
        num_envs: envs side by side. Always all of them are in a batch, running or not.
        on_step: called after every step (a sign of life).
        images: False for a policy that does not look: nothing is drawn, and results have no image hash.

    Raises:
        UserError: the policy does not fit the robot.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        policy_hash: str,
        *,
        num_envs: int,
        on_step: Callable[[], None] = lambda: None,
        images: bool = True,
    ) -> None:
        self._plan, self._images = plan, images
        self._policy_hash = policy_hash
        self._privileged = policy.spec.requires_privileged_info
        self._on_step = on_step
        # Any scenario will do: scenes are handed to the env one by one.
        self.env = NavigateVectorEnv(
            *(num_envs, plan.scenarios[0], plan.embodiment),
            renderer=plan.renderer,
            autoreset_mode="Disabled",
            images=images,
        )
        self._scenes = Scenes(self.env.embodiment, plan.instruction_set, plan.language, plan.instruction)
        steering = ByPolicy(policy, self.env.embodiment)
        self._steering: Steering[Job] = Delayed(steering, plan.delay) if plan.delay else steering

    def run(self, jobs: Iterable[Job], on_record: Callable[[EpisodeResult], None]) -> None:
        """Run every job; hand each result over as soon as its episode ends.

        Raises whatever the policy raises: the caller decides which episode is to blame.
        """
        for ended in rollout(self.env, self._steering, jobs, self._scenes, Facts, on_step=self._on_step):
            on_record(self._result(ended))

    def close(self) -> None:
        """Give the env back."""
        self.env.close()

    def _result(self, ended: Ended[Job, Facts]) -> EpisodeResult:
        simulation, facts = ended.moment.simulation, ended.observer
        inference_ms = facts.diagnostics.inference_ms
        return EpisodeResult.of(
            {
                **identity_of(ended.job, ended.scene, self._scenes.source(ended.job.scenario), self._plan),
                **measures_of(ended, self.env.embodiment.body.radius_m),
                "policy_hash": self._policy_hash,
                "picture_hash": facts.images.hexdigest if self._images else "",
                "privileged": self._privileged,
                "outcome": ended.outcome,
                "steps": len(facts.actions.executed),
                "sim_time_s": simulation.time_s,
                "collision_partner": simulation.collision_partner,
                "collision_events": simulation.collision_events,
                "error": ended.error,
                "diagnostics": facts.diagnostics.values,
                "inference_ms": statistics.median(inference_ms) if inference_ms else None,
            }
        )


def identity_of(job: Job, scene: Scene, source: SceneSource, plan: Plan) -> dict[str, Any]:
    """The part of a result that is known before the episode runs."""
    return {
        "policy": job.policy,
        "scenario": job.scenario,
        "suite": job.suite,
        "scenario_hash": source.scenario_hash,
        "embodiment": plan.embodiment,
        "embodiment_hash": source.embodiment.content_hash,
        "step_s": source.embodiment.control_s,
        "delay_steps": plan.delay,
        "seed": job.seed,
        "index": job.index,
        "instruction": scene.instruction.text,
        "language": scene.instruction.language,
        "phrasing": scene.instruction.phrasing,
        "asked_side": scene.task.side,
        "family": source.scenario.family,
        "family_hash": source.scenario.family_hash,
    }


def measures_of(ended: Ended[Job, Facts], robot_radius_m: float) -> dict[str, Any]:
    """What is computed from the driven path and privileged state. A fact that is added here is in every result."""
    facts, scene = ended.observer, ended.scene
    # What the robot was told last decides what it should have done.
    judged = ended.moment.simulation.scene or scene
    planner = Planner(judged if judged.task.refuse else scene, robot_radius_m)
    left = Planner(judged, robot_radius_m) if scene.task.legs else planner
    path = np.array(facts.path.poses)
    facts_of_path = facts_of(planner, path[:, :2], scene.task.reach_m)
    corners = np.array(facts_of_path["expert_path"]).reshape(-1, 2)
    gaps = clearances(scene, resample(path[:, :2], CLEARANCE_SPACING_M), robot_radius_m)
    return {
        "path": tuple(facts.path.poses),
        "actions": tuple(tuple(action.tolist()) for action in facts.actions.executed),
        "path_length_m": float(np.linalg.norm(np.diff(path[:, :2], axis=0), axis=1).sum()),
        "expert_path_length_m": planner.distance(path[0, 0], path[0, 1]),
        "final_distance_m": left.distance(path[-1, 0], path[-1, 1]),
        "min_clearance_m": float(gaps.min()),
        "clearance_p5_m": float(np.percentile(gaps, 5)),
        "realised_side": realised_side(scene, path[:, :2]),
        "state_hash": hashlib.sha256(path.tobytes()).hexdigest(),
        **facts_of_path,
        "difficulty": round(difficulty(scene, corners, robot_radius_m), 3),
        **legs_of(ended.moment.simulation),
        **reached_of(judged, ended.moment.simulation.reached, ended.moment.simulation.ended_at),
        **sentences_of(facts.sentences, ended.moment.simulation.embodiment.control_s),
    }
