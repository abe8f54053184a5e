"""Offline half of the benchmark: the expert drives, and policies are asked at every step what they would have done.

Nobody listens to the answers, so every policy sees the expert's observations and no consequence of its own actions.
They are the episodes of the closed loop without noise: same scenarios, seeds, instructions, robot and batches.
Answers are kept step by step in `offline.jsonl` (format version 1, one line per episode); figures are computed from it.
"""

from __future__ import annotations

import functools
import itertools
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole
from vla_sim.core.memory import keep_freed_memory
from vla_sim.core.pool import Failed, Pool, Result, Task
from vla_sim.core.pool_worker import Emit, Work, heartbeat
from vla_sim.core.specs import Embodiment
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import Policy, fit
from vla_sim.policies.expert import ExpertPolicy
from vla_sim.policies.registry import is_class, load_policy, policy_folder, policy_hash
from vla_sim.policies.types import BUILT_IN
from vla_sim.rollout.observers import Actions
from vla_sim.rollout.plan import NUM_ENVS, Job, Plan
from vla_sim.rollout.rollout import Ended, Scenes, rollout
from vla_sim.rollout.steering import EXPERT, ByPolicy, Decision, Supervised
from vla_sim.scenarios import load_scenario

FORMAT = 1
OFFLINE_FILE = "offline.jsonl"
# Episodes of a unit; a unit is of one scenario and is lost as a whole when the run is interrupted.
UNIT_EPISODES = 5 * NUM_ENVS
# All policies of a process are asked in one step.
HANG_TIMEOUT_S = 600.0

Progress = Callable[[int, int], None]
# Scenario and seeds.
OfflineUnit = tuple[str, tuple[int, ...]]
T = TypeVar("T")
# Before the names of shadows among the proposals: the expert may be its own shadow.
SHADOW = "shadow "


@dataclass(frozen=True, eq=False)
class ExpertEpisode:
    """One drive of the expert, and what each policy would have done at each of its T steps.

    Attributes:
        scenario, scenario_hash, seed: which world.
        outcome: how the expert's episode ended.
        action_names: components of an action, A of ("vx", "vy", "wz"), in m/s, m/s and rad/s.
        labels: float64 (T, A), the expert's action at each step.
        actions: by policy, float64 (T, A), as the policy gave them: not clipped to what the robot can do.
        failures: by policy, why it gave no actions.
        policy_hashes: by policy, and the expert's; tell whether a stored episode is still about the same policies.
    """

    scenario: str
    scenario_hash: str
    seed: int
    outcome: str
    action_names: tuple[str, ...]
    labels: np.ndarray
    actions: dict[str, np.ndarray]
    failures: dict[str, str]
    policy_hashes: dict[str, str]

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.action_names))
        if not len(self.labels):
            raise ValueError(f"drive {self.scenario}/{self.seed} must have at least one step")
        for name, values in {"labels": self.labels, **self.actions}.items():
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(
                    f"drive {self.scenario}/{self.seed}: {name} must be finite numbers of shape {shape}, "
                    f"got shape {values.shape}"
                )

    @property
    def key(self) -> tuple[str, int]:
        """(scenario, seed)."""
        return self.scenario, self.seed

    def to_json(self) -> str:
        """One line without line break; numbers exact."""
        values = {
            "format": FORMAT,
            "scenario": self.scenario,
            "scenario_hash": self.scenario_hash,
            "seed": self.seed,
            "outcome": self.outcome,
            "action_names": list(self.action_names),
            "labels": self.labels.tolist(),
            "actions": {name: values.tolist() for name, values in self.actions.items()},
            "failures": self.failures,
            "policy_hashes": self.policy_hashes,
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> ExpertEpisode:
        """The drive that `to_json` wrote.

        Raises:
            ValueError: not such a line.
        """
        try:
            values = json.loads(line)
            if values.pop("format") != FORMAT:
                raise ValueError(f"offline format must be {FORMAT}")
            values["action_names"] = tuple(values["action_names"])
            values["labels"] = np.array(values["labels"], dtype=np.float64)
            values["actions"] = {k: np.array(v, dtype=np.float64) for k, v in values["actions"].items()}
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a stored expert drive: {error}") from error


class Shadowed:
    """The expert steers; policies as its shadows see what it sees, keep their own memory and are not listened to.

    What each would do is among the proposals of a decision.

    Args:
        shadows: by name. One that raises or gives no finite actions is not asked again: see `failures`.
        robot: which all of them must fit.

    Raises:
        UserError: a policy does not fit the robot.
    """

    def __init__(self, shadows: Mapping[str, Policy], robot: Embodiment) -> None:
        for name, shadow in shadows.items():
            fit(shadow, robot, f"policy {name!r}")
        self._expert = Supervised[Job](ExpertPolicy(), robot)
        self._shadows = {name: ByPolicy(shadow, robot) for name, shadow in shadows.items()}
        self.failures: dict[str, str] = {}

    def reset(self, started: Sequence[Job | None]) -> None:
        """Start new episodes for the expert and every shadow."""
        self._expert.reset(started)
        for name, shadow in self._asked():
            self._guarded(name, functools.partial(shadow.reset, started))

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The expert's actions, and as proposals also those of the shadows, float64."""
        decision = self._expert.decide(observation, infos)
        proposals = dict(decision.proposals)
        for name, shadow in self._asked():
            answer = self._guarded(name, functools.partial(shadow.decide, observation, infos))
            if answer is not None:
                actions = proposals[SHADOW + name] = np.array(answer.actions, dtype=np.float64)
                if not np.isfinite(actions).all():
                    self.failures[name] = f"act must return finite actions, got {answer.actions}"
        return replace(decision, proposals=proposals)

    def _asked(self) -> list[tuple[str, ByPolicy]]:
        return [(name, shadow) for name, shadow in self._shadows.items() if name not in self.failures]

    def _guarded(self, name: str, call: Callable[[], T]) -> T | None:
        """What a shadow answers; whatever it raises is noted as its failure and costs nobody else anything."""
        try:
            return call()
        except Exception:
            self.failures[name] = traceback.format_exc(limit=1).strip().splitlines()[-1]
            return None


class OfflineBench:
    """Drives the expert through worlds of a plan with policies as shadows; give it back with `close`.

    Raises:
        UserError: a policy cannot be loaded or does not fit the robot.
    """

    def __init__(self, plan: Plan, policies: Sequence[str], on_step: Callable[[], None] = lambda: None) -> None:
        self._on_step = on_step
        self._hashes = _hashes(policies)
        self._env = NavigateVectorEnv(
            NUM_ENVS, plan.scenarios[0], plan.embodiment, renderer=plan.renderer, autoreset_mode="Disabled"
        )
        self._scenes = Scenes(self._env.embodiment, plan.instruction_set, plan.language, plan.instruction)
        self._shadowed = Shadowed({name: load_policy(name) for name in policies}, self._env.embodiment)

    def drive(self, scenario: str, seeds: Iterable[int]) -> list[ExpertEpisode]:
        """The expert's episodes in one scenario, in the order of the seeds."""
        jobs = [Job(EXPERT, scenario, "", index, seed) for index, seed in enumerate(seeds)]
        episodes = rollout(self._env, self._shadowed, jobs, self._scenes, Actions, on_step=self._on_step)
        expert_episodes = {ended.job.index: self._episode_of(ended) for ended in episodes}
        return [expert_episodes[job.index] for job in jobs]

    def _episode_of(self, ended: Ended[Job, Actions]) -> ExpertEpisode:
        proposed, failures = ended.observer.proposed, dict(self._shadowed.failures)
        answers = {name: proposed.get(SHADOW + name) for name in self._hashes}
        return ExpertEpisode(
            scenario=ended.job.scenario,
            scenario_hash=self._scenes.source(ended.job.scenario).scenario.hash,
            seed=ended.job.seed,
            outcome=ended.outcome.value,
            action_names=self._env.embodiment.action_names,
            labels=np.array(proposed[EXPERT], dtype=np.float64),
            actions={name: np.array(rows) for name, rows in answers.items() if rows and name not in failures},
            failures=failures,
            policy_hashes=self._hashes,
        )

    def close(self) -> None:
        """Give the env back."""
        self._env.close()


def units_of(plan: Plan) -> list[OfflineUnit]:
    """The plan's worlds as (scenario, seeds), cut so that an episode's batch never depends on the workers."""
    seeds = tuple(range(plan.seed, plan.seed + plan.episodes))
    cuts = [seeds[start : start + UNIT_EPISODES] for start in range(0, len(seeds), UNIT_EPISODES)]
    return [(scenario, cut) for scenario in plan.scenarios for cut in cuts]


def run_expert(
    plan: Plan,
    policies: Sequence[str],
    path: Path,
    *,
    workers: int = 1,
    on_progress: Progress = lambda done, total: None,
) -> list[ExpertEpisode]:
    """All episodes of a plan, those that `path` already holds for the same policies taken from there.

    Args:
        plan: gives scenarios, seeds, phrasings and robot; its own policies do not matter.
        policies: who is asked.
        path: an `offline.jsonl`; grows unit by unit, so an interruption costs one unit per worker.
        workers: processes. Results are the same for any number.
        on_progress: told (episodes done, of how many).

    Raises:
        UserError: a policy of our own types cannot be used, or the file cannot be written.
        KeyboardInterrupt: as it comes; what ran is in the file.
    """
    expert_episodes = {expert_episode.key: expert_episode for expert_episode in stored_episodes(plan, policies, path)}
    total = len(plan.scenarios) * plan.episodes
    missing = [unit for unit in units_of(plan) if any((unit[0], seed) not in expert_episodes for seed in unit[1])]
    try:
        write_whole(path, _lines(expert_episodes.values()).encode())
        for expert_episode in _driven(plan, tuple(policies), missing, workers):
            if expert_episode.key not in expert_episodes:
                expert_episodes[expert_episode.key] = expert_episode
                with path.open("a", encoding="utf-8") as file:
                    file.write(_lines([expert_episode]))
            on_progress(len(expert_episodes), total)
        ordered = [expert_episodes[scenario, seed] for scenario, seeds in units_of(plan) for seed in seeds]
        write_whole(path, _lines(ordered).encode())
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}") from error
    return ordered


def stored_episodes(plan: Plan, policies: Sequence[str], path: Path) -> list[ExpertEpisode]:
    """Episodes of this plan in the file that are about the policies and scenarios as they are now.

    Anything else, a line cut off by an interruption among it, is left out and has to be driven again.
    """
    if not path.exists():
        return []
    hashes, scenarios = _hashes(policies), {name: load_scenario(name).hash for name in plan.scenarios}
    found = []
    for line in path.read_text("utf-8", errors="replace").split("\n"):
        try:
            expert_episode = ExpertEpisode.from_json(line)
        except ValueError:
            continue
        same = (
            expert_episode.policy_hashes == hashes
            and scenarios.get(expert_episode.scenario) == expert_episode.scenario_hash
        )
        if same and plan.seed <= expert_episode.seed < plan.seed + plan.episodes:
            found.append(expert_episode)
    return found


def _hashes(policies: Sequence[str]) -> dict[str, str]:
    return {name: policy_hash(name) for name in dict.fromkeys((*policies, EXPERT))}


def _lines(expert_episodes: Iterable[ExpertEpisode]) -> str:
    return "".join(expert_episode.to_json() + "\n" for expert_episode in expert_episodes)


# --- processes ----------------------------------------------------------------------------------------------------


def groups_of(policies: Iterable[str]) -> list[tuple[str, ...]]:
    """Policies that are asked in one process: first those of our own types, perhaps none; then each other one alone.

    Code of others may change what is in its process, and with it what the expert and the rest of the policies do.
    """
    others = [name for name in policies if is_class(name) or policy_folder(name).kind not in BUILT_IN]
    return [tuple(name for name in policies if name not in others), *((name,) for name in others)]


@dataclass(frozen=True)
class OfflineWorker:
    """Makes the work of a process: a group of policies is loaded once and asked in the units of the plan."""

    plan: Plan

    def __call__(self, policies: tuple[str, ...]) -> Work:
        """Load the policies."""
        keep_freed_memory()
        bench = OfflineBench(self.plan, policies, on_step=heartbeat)

        def work(unit: OfflineUnit, emit: Emit) -> None:
            emit(bench.drive(*unit))

        return work


def _driven(
    plan: Plan, policies: tuple[str, ...], units: Sequence[OfflineUnit], workers: int
) -> Iterator[ExpertEpisode]:
    """The episodes of all units, each as soon as every group of policies has been asked in it."""
    groups, hashes = groups_of(policies), _hashes(policies)
    found: dict[OfflineUnit, dict[tuple[str, ...], list[ExpertEpisode] | str]] = {unit: {} for unit in units}
    with Pool(OfflineWorker(plan), workers=workers, hang_timeout_s=HANG_TIMEOUT_S) as pool:
        for asked, unit in itertools.product(groups, units):
            pool.submit(Task(unit, asked))
        for event in pool.events():
            group: Any = event.task.group
            if isinstance(event, Result):
                found[event.task.payload][group] = event.value
            elif isinstance(event, Failed):
                reason = event.reason.strip().splitlines()[-1]
                if group == groups[0]:
                    raise UserError(f"the offline part cannot go on: {reason}")
                for lost in (event.task, *(pool.drop(group) if event.starting else ())):
                    found[lost.payload][group] = reason
            for unit in [unit for unit, parts in found.items() if len(parts) == len(groups)]:
                yield from _joined(groups, found.pop(unit), hashes)


def _joined(
    groups: Sequence[tuple[str, ...]],
    parts: Mapping[tuple[str, ...], list[ExpertEpisode] | str],
    hashes: dict[str, str],
) -> Iterator[ExpertEpisode]:
    """The episodes of a unit with the answers of all groups; the expert's part is that of the first group."""
    first = parts[groups[0]]
    assert not isinstance(first, str)
    for number, expert_episode in enumerate(first):
        actions, failures = dict(expert_episode.actions), dict(expert_episode.failures)
        for group in groups[1:]:
            part = parts[group]
            if isinstance(part, str):
                failures |= dict.fromkeys(group, part)
            elif (
                not np.array_equal(part[number].labels, expert_episode.labels)
                or part[number].outcome != expert_episode.outcome
            ):
                failures |= dict.fromkeys(group, "the expert drove otherwise beside it: it changes the simulation")
            else:
                actions |= part[number].actions
                failures |= part[number].failures
        yield replace(expert_episode, actions=actions, failures=failures, policy_hashes=hashes)
