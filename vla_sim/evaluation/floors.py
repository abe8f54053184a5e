"""The floors of a table: policies that do not look, driven through worlds that the evaluated policies met.

A success rate says little before it is known what standing still, driving at random and driving straight ahead reach in
the same worlds. The first 20 worlds of each scenario say that; who wants more names a floor as a policy.
They are no competitors: they have no rank, are compared with nobody and decide no exit code and no baseline. Their
results lie in `floors.jsonl` beside `episodes.jsonl`. Used by the runner and the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_sim.core.errors import UserError
from vla_sim.core.pool import run_units
from vla_sim.evaluation.run_results import Scenes
from vla_sim.policies.registry import load_policy, policy_hash, policy_names
from vla_sim.rollout.plan import NUM_ENVS, Job, Plan
from vla_sim.rollout.result import EpisodeResult, read_results, write_results

FLOORS = ("hold", "random", "straight")
FLOORS_FILE = "floors.jsonl"
# Of each scenario. All worlds would take 70 % of the time of a small policy in the same worlds (ensemble, core).
MOST_EPISODES = 20
# Below this many episodes starting processes takes longer than driving in this one.
FEW_EPISODES = 600

FloorProgress = Callable[[int, int], None]


def floors_of(plan: Plan) -> tuple[str, ...]:
    """The floors that a table of this plan lacks: those that are not among its policies already."""
    known = policy_names()
    return tuple(floor for floor in FLOORS if floor in known and floor not in plan.policies)


def drive_floors(
    plan: Plan, path: Path | None = None, *, workers: int = 1, on_progress: FloorProgress = lambda done, total: None
) -> list[EpisodeResult]:
    """Episodes of the floors in the first worlds of each scenario of a plan, in the order of floor, scenario and seed.

    Args:
        plan: gives scenarios, seeds, phrasings and robot.
        path: where they are kept; taken from there if they are all there, of the same worlds and floors.
        workers: processes. Results are the same for any number.
        on_progress: told (episodes done, of how many).

    Raises:
        UserError: the file cannot be written.
    """
    jobs = [job for floor in floors_of(plan) for job in plan.jobs_of(floor) if job.index < MOST_EPISODES]
    stored = _stored(plan, jobs, path) if path else []
    if stored:
        return stored
    workers = 1 if len(jobs) < FEW_EPISODES else workers
    found: dict[object, EpisodeResult] = {}
    for result in run_units(_units(jobs, workers), FloorWorker(plan), workers=workers):
        found[result.key] = result
        on_progress(len(found), len(jobs))
    results = [found[job.key] for job in jobs]
    if path:
        write_results(path, results)
    return results


def _units(jobs: Sequence[Job], workers: int) -> list[tuple[Job, ...]]:
    """The jobs of each floor in as many parts as there are workers."""
    units = []
    for floor in dict.fromkeys(job.policy for job in jobs):
        own = [job for job in jobs if job.policy == floor]
        size = -(-len(own) // workers)
        units += [tuple(own[start : start + size]) for start in range(0, len(own), size)]
    return units


@dataclass(frozen=True)
class FloorWorker:
    """Makes the work of a process: jobs of one floor to results."""

    plan: Plan

    def __call__(self) -> Callable[[Sequence[Job]], Iterator[EpisodeResult]]:
        """Nothing to load."""
        return self._drive

    def _drive(self, jobs: Sequence[Job]) -> Iterator[EpisodeResult]:
        from vla_sim.rollout.evaluating import EvaluationRollout

        floor = jobs[0].policy
        rollout = EvaluationRollout(self.plan, load_policy(floor), policy_hash(floor), num_envs=NUM_ENVS, images=False)
        results: list[EpisodeResult] = []
        try:
            for start in range(0, len(jobs), 4 * NUM_ENVS):
                rollout.run(jobs[start : start + 4 * NUM_ENVS], results.append)
                yield from results
                results.clear()
        finally:
            rollout.close()


def _stored(plan: Plan, jobs: Sequence[Job], path: Path) -> list[EpisodeResult]:
    """What a file holds, if it is what would be driven now; else nothing."""
    try:
        results = read_results(path)
    except UserError:
        return []
    scenes = Scenes(plan)
    sources = {name: scenes.source(name) for name in plan.scenarios}
    codes = {floor: policy_hash(floor) for floor in floors_of(plan)}
    wanted = [
        (job.key, codes[job.policy], sources[job.scenario].scenario_hash, sources[job.scenario].embodiment.content_hash)
        for job in jobs
    ]
    there = [(r.key, r.policy_hash, r.scenario_hash, r.embodiment_hash) for r in results]
    return results if there == wanted else []
