"""The results of a run while it runs: in memory, in `episodes.jsonl` at once, and never of two identities.

Used by `vla_sim.evaluation.runner`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from vla_sim.core.errors import UserError
from vla_sim.core.files import clear_errors, write_whole
from vla_sim.core.run_folder import read_object
from vla_sim.core.types import Outcome
from vla_sim.envs.sampling import SceneSource
from vla_sim.policies.identity import Identity
from vla_sim.policies.registry import policy_hash
from vla_sim.rollout.evaluating import identity_of
from vla_sim.rollout.plan import Job, Plan, Unit
from vla_sim.rollout.result import EpisodeResult, read_results, write_results

EPISODES_FILE, IDENTITY_FILE = "episodes.jsonl", "identities.json"

log = logging.getLogger(__name__)

Progress = Callable[[int, int, int], None]


def planned_results(plan: Plan, path: Path, *, on_left_out: Callable[[str], None]) -> list[EpisodeResult]:
    """What a file holds of a plan's episodes, each once; those that are left out are to be driven again.

    Args:
        plan: see `Plan`.
        path: an `episodes.jsonl`, or where it would be.
        on_left_out: told of each line that is damaged, repeats an episode, or is of no episode of the plan.
    """
    if not path.exists():
        return []
    jobs = {job.key: job for job in plan.jobs()}
    results = []
    for result in read_results(path, on_damaged=on_left_out):
        job = jobs.get(result.key)
        if job is None or (job.index, plan.embodiment) != (result.index, result.embodiment):
            on_left_out(f"{path}: episode {'/'.join(map(str, result.key))} is not in the plan; left out")
        elif result.outcome is not Outcome.ERROR:
            results.append(result)
    return results


class Scenes:
    """Where the scenes of a plan come from, by scenario."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sources: dict[str, SceneSource] = {}

    def source(self, scenario: str) -> SceneSource:
        """Scenes of one of the plan's scenarios; made once."""
        if scenario not in self._sources:
            plan = self._plan
            self._sources[scenario] = SceneSource(
                scenario, plan.embodiment, plan.instruction_set, plan.language, plan.instruction
            )
        return self._sources[scenario]

    def error(self, job: Job, reason: str, code: str) -> EpisodeResult:
        """The result of an episode that could not be driven: without path, with the reason in `error`."""
        source = self.source(job.scenario)
        story = identity_of(job, source.scene(job.seed), source, self._plan)
        return EpisodeResult.of({**story, "policy_hash": code, "outcome": Outcome.ERROR, "error": reason})


class Identities:
    """What identifies the policies of a run, kept in its folder.

    Args:
        folder: of the run.
        policies: their names.
    """

    def __init__(self, folder: Path, policies: tuple[str, ...]) -> None:
        self._path = folder / IDENTITY_FILE
        self._stored = _stored(self._path) if self._path.exists() else {}
        self._now = {name: Identity(policy_hash(name)) for name in policies}

    def __getitem__(self, policy: str) -> Identity:
        return self._now[policy]

    def go_on_with(self, results: list[EpisodeResult]) -> None:
        """Refuse to go on with results of a policy that has changed.

        Raises:
            UserError: says what has changed.
        """
        for policy in dict.fromkeys(result.policy for result in results):
            stored = self._stored.get(policy)
            hashes = {result.policy_hash for result in results if result.policy == policy}
            code = self._now[policy].code
            if stored.code != code if stored else hashes != {code}:
                raise UserError(f"policy {policy!r} has changed since these results were made: start a new folder")
            if stored:
                file = stored.changed_file()
                if file:
                    raise UserError(
                        f"policy {policy!r} reads {file}, which has changed since these results were made: "
                        "start a new folder"
                    )
                self._now[policy] = stored

    def add_files(self, policy: str, files: Mapping[str, str]) -> None:
        """A policy has read files: they are part of what it is."""
        self._now[policy] = self._now[policy].with_files(files)
        values = {name: {"code": one.code, "files": dict(one.files)} for name, one in self._now.items() if one.files}
        text = json.dumps({"format": 1, "policies": values}, indent=1, ensure_ascii=False) + "\n"
        write_whole(self._path, text.encode("utf-8", "backslashreplace"))

    def marked(self, result: EpisodeResult) -> EpisodeResult:
        """A result with the identity of its policy as far as it is known now."""
        wanted = self._now[result.policy].hash
        return result if result.policy_hash == wanted else replace(result, policy_hash=wanted)


def _stored(path: Path) -> dict[str, Identity]:
    policies = read_object(path).get("policies")
    try:
        return {
            str(name): Identity(str(one["code"]), {str(k): str(v) for k, v in one["files"].items()})
            for name, one in policies.items()  # type: ignore[union-attr]
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged: it must say code and files of each policy") from error


class RunResults:
    """Keeps each result: in memory, and at once in the file, so that a crash loses nothing that was finished.

    Args:
        plan: see `Plan`.
        folder: of the run.
        on_progress: told (episodes done, of how many, successes) after each.

    Raises:
        UserError: the folder holds results of a policy, scenario or robot that has changed since.
    """

    def __init__(self, plan: Plan, folder: Path, on_progress: Progress) -> None:
        self._plan = plan
        self._path = folder / EPISODES_FILE
        self._total = len(plan.jobs())
        self._on_progress = on_progress
        self.scenes = Scenes(plan)
        self.identities = Identities(folder, plan.policies)
        found = planned_results(plan, self._path, on_left_out=log.warning)
        self.identities.go_on_with(found)
        for result in found:
            self._check_world(result)
        self._by_key = {result.key: result for result in found}
        self._successes = sum(result.success for result in found)
        self._file: IO[str] | None = None

    def __len__(self) -> int:
        return len(self._by_key)

    def __enter__(self) -> RunResults:
        write_results(self._path, self.in_order())
        with clear_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with clear_errors(self._path):
                self._file.close()

    def keep(self, result: EpisodeResult) -> None:
        """Take a result; one that is already there (a unit run again after an interruption) is dropped."""
        if result.key in self._by_key:
            return
        result = self.identities.marked(result)
        self._by_key[result.key] = result
        assert self._file is not None
        with clear_errors(self._path):
            self._file.write(result.to_json() + "\n")
            self._file.flush()
        self._successes += result.success
        self._on_progress(len(self), self._total, self._successes)

    def error(self, job: Job, reason: str) -> EpisodeResult:
        """The result of an episode that could not be driven."""
        return self.scenes.error(job, reason, self.identities[job.policy].hash)

    def open_units(self) -> list[Unit]:
        """Units with at least one episode missing; run whole, so that each batch is what it always is."""
        return [unit for unit in self._plan.units() if any(job.key not in self._by_key for job in unit.jobs)]

    def in_order(self) -> list[EpisodeResult]:
        """The results so far in the order of the plan, each with the identity of its policy."""
        found = (self._by_key.get(job.key) for job in self._plan.jobs())
        return [self.identities.marked(result) for result in found if result is not None]

    def write(self) -> list[EpisodeResult]:
        """Put the file in order; the results."""
        results = self.in_order()
        write_results(self._path, results)
        return results

    @property
    def complete(self) -> bool:
        """Whether every episode of the plan is there."""
        return len(self) == self._total

    def _check_world(self, result: EpisodeResult) -> None:
        source = self.scenes.source(result.scenario)
        if result.scenario_hash != source.scenario.hash:
            raise UserError(
                f"scenario {result.scenario!r} has changed since these results were made: start a new folder"
            )
        if result.embodiment_hash not in ("", source.embodiment.content_hash):
            raise UserError(
                f"robot {result.embodiment!r} has changed since these results were made: start a new folder"
            )
