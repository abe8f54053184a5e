"""One finished episode as plain data, and the file `episodes.jsonl` (format version 2) that holds many.

The rollout writes these; metrics, summary, report, replay and the baseline read them. A result holds all that a metric
needs, so every figure can be computed again without the simulator. It can grow: a field added later has a default, and
facts that this version does not know are kept in `extra`, so results of other versions stay readable.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole
from vla_sim.core.run_folder import parse_json
from vla_sim.core.types import Outcome, Side
from vla_sim.rollout.result_values import CONVERTERS

FORMAT = 2
READABLE_FORMATS = (1, FORMAT)

Key = tuple[str, str, int]


# Marks a field that files of earlier versions lack: its default stands for "not known".
LATER = {"later": True}


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """How one policy did in one scene.

    Lengths in metres, times in seconds, angles in radians, positions in the world frame. T is the number of
    control steps. A number that is not finite becomes None where None is allowed and is refused elsewhere.

    A new field goes to the end, before `inference_ms`, with a default and marked `LATER`; earlier files stay readable.

    Attributes:
        policy: name of the policy as asked for.
        policy_hash: identifies its code, weights and settings; "" when it has none.
        scenario, suite: full name of the scenario and the suite it was run for ("" for none, "a+b" for two).
        scenario_hash: identifies the scenario's description.
        embodiment: name of the robot.
        seed: the seed the scene was sampled from.
        index: number of the episode within its policy and scenario, from 0.
        instruction, language, phrasing: what the policy was told, and from which template.
        outcome: how it ended.
        steps: T.
        sim_time_s: simulated duration.
        path_length_m: sum of the Euclidean steps of the robot's centre.
        expert_path_length_m: geodesic length from the start to the success region, `l` of SPL.
        final_distance_m: geodesic distance that was left, d_T.
        min_clearance_m, clearance_p5_m: smallest gap between footprint and anything that counts as a
            collision, and the 5th percentile over the steps; None where nothing stands in the scene.
        collision_partner: name of the body first touched, None without contact.
        collision_events: separate contacts (edge-triggered).
        asked_side, realised_side: side the task asks for and side on which the obstacles were passed.
        step_s: duration of a control step.
        path: T + 1 poses (x, y, yaw); may be shorter in an episode that raised.
        actions: T actions as commanded, in the policy's units.
        picture_hash: xxh3_128 (hex) of all observed images; "" if not taken.
        state_hash: sha256 (hex) of all states; "" if not taken.
        privileged: whether the policy read privileged state.
        error: traceback of an episode that raised, else None.
        diagnostics: what the policy says of its own decisions, by name, e.g. the disagreement within an ensemble: a
            number for each decision, T of them (one more where an action could not be executed).
        embodiment_hash: identifies the robot's description; "" in files of earlier versions.
        earlier_error: what the batch raised in which the episode was driven first; it was then driven alone.
        delay_steps: control steps by which the policy's actions arrived late; `actions` are as they arrived.
        extra: facts without a field of their own, by name: plain JSON values.
        inference_ms: median time of one decision; the only field that differs between equal runs.
    """

    policy: str
    policy_hash: str = ""
    scenario: str
    suite: str = ""
    scenario_hash: str = ""
    embodiment: str
    seed: int
    index: int = 0
    instruction: str
    language: str = ""
    phrasing: str = ""
    outcome: Outcome
    steps: int = 0
    sim_time_s: float = 0.0
    path_length_m: float = 0.0
    expert_path_length_m: float | None = None
    final_distance_m: float | None = None
    min_clearance_m: float | None = None
    clearance_p5_m: float | None = None
    collision_partner: str | None = None
    collision_events: int = 0
    asked_side: Side | None = None
    realised_side: Side | None = None
    step_s: float
    path: tuple[tuple[float, float, float], ...] = ()
    actions: tuple[tuple[float | None, ...], ...] = ()
    picture_hash: str = ""
    state_hash: str = ""
    privileged: bool = False
    error: str | None = None
    diagnostics: dict[str, tuple[float | None, ...]] = field(default_factory=dict, metadata=LATER)
    embodiment_hash: str = field(default="", metadata=LATER)
    earlier_error: str | None = field(default=None, metadata=LATER)
    delay_steps: int = field(default=0, metadata=LATER)
    extra: dict[str, Any] = field(default_factory=dict, metadata=LATER)
    inference_ms: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, CONVERTERS[str(f.type)](f.name, getattr(self, f.name)))
        self._check_numbers()
        self._check_story()
        for name in self.extra:
            if name in _NAMES:
                raise ValueError(f"{self._where}: {name!r} is a field and cannot be an extra fact")

    def _check_numbers(self) -> None:
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{self._where}: {name} must be finite and not negative, got {value}")
        if self.step_s <= 0:
            raise ValueError(f"{self._where}: step_s must be positive, got {self.step_s}")

    def _check_story(self) -> None:
        if (self.error is not None) != (self.outcome is Outcome.ERROR):
            raise ValueError(
                f"{self._where}: a traceback belongs to outcome error and to no other, got {self.outcome.value}"
            )
        if len(self.actions) > self.steps or len(self.path) > self.steps + 1:
            raise ValueError(
                f"{self._where}: {self.steps} steps cannot have {len(self.actions)} actions and {len(self.path)} poses"
            )
        if self.outcome is not Outcome.ERROR and (len(self.actions), len(self.path)) != (self.steps, self.steps + 1):
            raise ValueError(
                f"{self._where}: {self.steps} steps need {self.steps} actions and {self.steps + 1} poses, "
                f"got {len(self.actions)} and {len(self.path)}"
            )
        if len(set(map(len, self.actions))) > 1:
            raise ValueError(f"{self._where}: all actions must have the same components")
        for name, values in self.diagnostics.items():
            if len(values) > self.steps + (self.outcome is Outcome.ERROR):
                raise ValueError(f"{self._where}: {self.steps} steps cannot have {len(values)} numbers of {name!r}")
        for name, digits in (("picture_hash", 32), ("state_hash", 64)):
            value = getattr(self, name)
            if value and not (len(value) == digits and set(value) <= set("0123456789abcdef")):
                raise ValueError(f"{self._where}: {name} must be {digits} hexadecimal digits, got {value!r}")

    @property
    def _where(self) -> str:
        return f"episode {self.policy}/{self.scenario}/seed {self.seed}"

    @property
    def success(self) -> bool:
        """Whether the robot did what was right."""
        return self.outcome.succeeded

    @property
    def key(self) -> Key:
        """(policy, scenario, seed), which names the episode within a run."""
        return self.policy, self.scenario, self.seed

    def to_json(self) -> str:
        """One line without line break; keys in a fixed order, numbers exact, never NaN or Infinity."""
        return self._line

    @cached_property
    def _line(self) -> str:
        """Written twice, as it comes and once more in order at the end of a run; spelled out once."""
        return _dump(self._values())

    def deterministic_json(self) -> str:
        """As `to_json` without the measured time: equal for equal runs, byte for byte."""
        values = self._values()
        del values["inference_ms"]
        return _dump(values)

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {"format": FORMAT}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "extra":
                values |= value
            else:
                values[f.name] = value.value if isinstance(value, (Outcome, Side)) else value
            if f.name == "outcome":
                values["success"] = self.success
        return values

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EpisodeResult:
        """The result with these values by name; names that are no field become extra facts.

        Raises:
            ValueError: a missing or impossible value.
        """
        known = {name: value for name, value in values.items() if name in _NAMES}
        extra = {name: value for name, value in values.items() if name not in _NAMES}
        try:
            return cls(**known, extra=extra)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"episode with a value of the wrong type: {error}") from error

    @classmethod
    def from_json(cls, line: str) -> EpisodeResult:
        """The result that `to_json` wrote, in this version or another.

        Raises:
            ValueError: not JSON, an unknown format version, or missing or impossible values.
        """
        values = parse_json(line)
        if not isinstance(values, dict):
            raise ValueError(f"an episode must be a JSON object, got {type(values).__name__}")
        version = values.pop("format", None)
        if isinstance(version, bool) or version not in READABLE_FORMATS:
            raise ValueError(f"episode format must be {' or '.join(map(str, READABLE_FORMATS))}, got {version!r:.60}")
        missing = sorted(_ALWAYS_THERE - set(values))
        if missing:
            raise ValueError(f"episode with missing keys {missing}")
        success = values.pop("success")
        result = cls.of(values)
        if success is not result.success:
            raise ValueError(f"{result._where}: success is {success!r:.60} but the outcome is {result.outcome.value}")
        return result


_NAMES = frozenset(f.name for f in fields(EpisodeResult)) - {"extra"} | {"format", "success"}
_ALWAYS_THERE = frozenset(f.name for f in fields(EpisodeResult) if not f.metadata.get("later")) | {"success"}
_NOT_NEGATIVE = (
    *("seed", "index", "steps", "collision_events", "delay_steps"),
    *("sim_time_s", "path_length_m", "step_s", "expert_path_length_m", "final_distance_m"),
)


def _dump(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


# --- files --------------------------------------------------------------------------------------------------------


def read_results(path: str | Path, *, on_damaged: Callable[[str], None] | None = None) -> list[EpisodeResult]:
    """All results of a file, in order, each episode once.

    Args:
        path: an `episodes.jsonl`.
        on_damaged: told of each line that is left out, because it is damaged, was cut off while being written, or
            repeats an episode; without it such a line is an error.

    Raises:
        UserError: the file cannot be read, or a line must be left out and nobody would be told; names the line.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: instructions may hold other line separators
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    results: dict[Key, EpisodeResult] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = EpisodeResult.from_json(line.decode("utf-8"))
            if result.key in results:
                raise ValueError(f"repeats episode {'/'.join(map(str, result.key))}")
        except ValueError as error:
            torn = number == len(lines) and not _is_json(line)
            reason = f"cut off after {len(line)} bytes" if torn else f"{error!s:.300}"
            if on_damaged is None:
                raise UserError(f"{path}, line {number}: {reason}") from error
            on_damaged(f"{path}, line {number}: {reason}; left out")
        else:
            results[result.key] = result
    return list(results.values())


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line.decode("utf-8"))
    except ValueError:
        return False
    return True


def write_results(path: str | Path, results: Iterable[EpisodeResult]) -> None:
    """Write all results, or leave the file as it was: a reader never sees half of them.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    write_whole(Path(path), "".join(result.to_json() + "\n" for result in results).encode())


def replay_command(result: EpisodeResult, folder: str = "DIR") -> str:
    """What to type to rebuild the episode; `folder` is the output folder of its run."""
    name = "/".join(map(str, result.key))
    return f"python -m vla_sim.replay {shlex.quote(folder)} {shlex.quote(name)}"


def in_order(results: Sequence[EpisodeResult]) -> list[EpisodeResult]:
    """The results by policy and scenario (each in order of first appearance), then by index."""
    policies = {name: rank for rank, name in enumerate(dict.fromkeys(r.policy for r in results))}
    scenarios = {name: rank for rank, name in enumerate(dict.fromkeys(r.scenario for r in results))}
    return sorted(results, key=lambda r: (policies[r.policy], scenarios[r.scenario], r.index))
