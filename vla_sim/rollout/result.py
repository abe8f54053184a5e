"""One finished episode as plain data, and the file `episodes.jsonl` (format version 2) that holds many.

The rollout writes these; metrics, summary, report, replay and the regression gate read them. A record
holds all that a metric needs, so every figure can be computed again without the simulator.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from vla_sim.core.types import Outcome, Side

FORMAT = 2


class TornLineWarning(UserWarning):
    """The last line of a record file was not finished, as after a killed run; it was left out."""


@dataclass(frozen=True)
class EpisodeRecord:
    """How one policy did in one world.

    Lengths in metres, times in seconds, angles in radians, positions in the world frame. T is the number of
    control steps. A number that is not finite becomes None where None is allowed and is refused elsewhere.

    Attributes:
        policy: name of the policy as asked for.
        policy_hash: identifies its weights and settings; "" when it has none.
        scenario, suite: full name of the scenario and the suite it was run for ("" for none).
        scenario_hash: identifies the scenario's description.
        embodiment: name of the robot.
        seed: the seed the world was sampled from.
        index: number of the episode within its policy and scenario, from 0.
        instruction, language, phrasing: what the policy was told, and from which template.
        outcome: how it ended.
        success: whether `outcome` is SUCCESS.
        steps: T.
        sim_time_s: simulated duration.
        path_length_m: sum of the Euclidean steps of the robot's centre.
        expert_path_length_m: geodesic length from the start to the success region, `l` of SPL.
        final_distance_m: geodesic distance that was left, d_T.
        min_clearance_m, clearance_p5_m: smallest gap between footprint and anything that counts as a
            collision, and the 5th percentile over the steps; None where nothing stands in the world.
        collision_partner: name of the body first touched, None without contact.
        collision_events: separate contacts (edge-triggered).
        asked_side, realised_side: side the task asks for and side on which the obstacles were passed.
        step_s: duration of a control step.
        path: T + 1 poses (x, y, yaw); may be shorter in an episode that raised.
        actions: T actions as commanded, in the policy's units.
        picture_hash: xxh3_128 (hex) of all observed pictures; "" if not taken.
        state_hash: sha256 (hex) of all world states; "" if not taken.
        privileged: whether the policy read ground truth.
        error: traceback of an episode that raised, else None.
        diagnostics: what the policy says of its own decisions, by name, e.g. the disagreement within an ensemble: a
            number for each decision, T of them (one more where an action could not be executed).
        inference_ms: median time of one decision; the only field that differs between equal runs.
    """

    policy: str
    policy_hash: str
    scenario: str
    suite: str
    scenario_hash: str
    embodiment: str
    seed: int
    index: int
    instruction: str
    language: str
    phrasing: str
    outcome: Outcome
    success: bool
    steps: int
    sim_time_s: float
    path_length_m: float
    expert_path_length_m: float | None
    final_distance_m: float | None
    min_clearance_m: float | None
    clearance_p5_m: float | None
    collision_partner: str | None
    collision_events: int
    asked_side: Side | None
    realised_side: Side | None
    step_s: float
    path: tuple[tuple[float, float, float], ...]
    actions: tuple[tuple[float | None, ...], ...]
    picture_hash: str = ""
    state_hash: str = ""
    privileged: bool = False
    error: str | None = None
    diagnostics: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    inference_ms: float | None = None

    def __post_init__(self) -> None:
        _normalise(self)
        self._check_numbers()
        self._check_story()

    def _check_numbers(self) -> None:
        for name in ("seed", "index", "steps", "collision_events", *_REQUIRED_FLOATS, *_LENGTHS):
            value = getattr(self, name)
            if value is None or (math.isfinite(value) and value >= 0):
                continue
            raise ValueError(f"{self._where}: {name} must be finite and not negative, got {value}")
        if self.step_s <= 0:
            raise ValueError(f"{self._where}: step_s must be positive, got {self.step_s}")
        for pose in self.path:
            if len(pose) != 3 or not all(map(math.isfinite, pose)):
                raise ValueError(f"{self._where}: path must hold finite (x, y, yaw), got {pose}")

    def _check_story(self) -> None:
        if self.success != (self.outcome is Outcome.SUCCESS):
            raise ValueError(f"{self._where}: success is {self.success} but the outcome is {self.outcome.value}")
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
    def key(self) -> tuple[str, str, int]:
        """(policy, scenario, seed), which names the episode within a run."""
        return self.policy, self.scenario, self.seed

    def to_json(self) -> str:
        """One line without line break; keys in a fixed order, numbers exact, never NaN or Infinity."""
        return self._line

    @cached_property
    def _line(self) -> str:
        """Written twice, as it comes and once more in order at the end of a run; spelled out once."""
        return _dump({"format": FORMAT, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}})

    def deterministic_json(self) -> str:
        """As `to_json` without the measured time: equal for equal runs, byte for byte."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != "inference_ms"}
        return _dump({"format": FORMAT, **values})

    @classmethod
    def from_json(cls, line: str) -> EpisodeRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: not JSON, another format version, or missing, unknown or impossible values.
        """
        values = json.loads(line, parse_constant=_refuse_constant)
        if not isinstance(values, dict):
            raise ValueError(f"an episode must be a JSON object, got {type(values).__name__}")
        version = values.pop("format", None)
        if version != FORMAT:
            raise ValueError(f"episode format must be {FORMAT}, got {version!r}")
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
            raise ValueError(f"episode with missing keys {missing} and unknown keys {unknown}")
        try:
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"episode with a value of the wrong type: {error}") from error


_REQUIRED_FLOATS = ("sim_time_s", "path_length_m", "step_s")
_LENGTHS = ("expert_path_length_m", "final_distance_m")
_OPTIONAL_FLOATS = (*_LENGTHS, "min_clearance_m", "clearance_p5_m", "inference_ms")
_INTEGERS = ("seed", "index", "steps", "collision_events")
_BOOLEANS = ("success", "privileged")
_ENUMS: dict[str, type[Outcome] | type[Side]] = {"outcome": Outcome, "asked_side": Side, "realised_side": Side}
_TEXTS = (
    *("policy", "policy_hash", "scenario", "suite", "scenario_hash", "embodiment"),
    *("instruction", "language", "phrasing", "collision_partner", "picture_hash", "state_hash", "error"),
)


def _normalise(record: EpisodeRecord) -> None:
    """Turn numpy scalars, lists and enum values into the declared types, so equal records compare equal."""

    def put(name: str, value: object) -> None:
        object.__setattr__(record, name, value)

    for name in _TEXTS:
        text = getattr(record, name)
        put(name, None if text is None else _writable(text))
    for name in _INTEGERS:
        put(name, _integer(name, getattr(record, name)))
    for name in _BOOLEANS:
        put(name, bool(getattr(record, name)))
    for name in _REQUIRED_FLOATS:
        put(name, float(getattr(record, name)))
    for name in _OPTIONAL_FLOATS:
        put(name, finite_or_none(getattr(record, name)))
    for name, choices in _ENUMS.items():
        value = getattr(record, name)
        put(name, None if value is None and choices is Side else choices(value))
    put("path", tuple(tuple(float(v) for v in pose) for pose in record.path))
    put("actions", tuple(tuple(finite_or_none(v) for v in action) for action in record.actions))
    put(
        "diagnostics",
        {_writable(k): tuple(finite_or_none(v) for v in values) for k, values in sorted(record.diagnostics.items())},
    )


def finite_or_none(value: Any) -> float | None:
    """The value as a float, None where it is missing, NaN or infinite."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def _writable(text: str) -> str:
    """The text with lone surrogates (from undecodable bytes in a traceback) spelled out, so that it is UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {text!r}")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, (Outcome, Side)) else value


def _dump(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"an episode must not hold {name}")


def read_records(path: str | Path, *, on_torn: Callable[[str], None] | None = None) -> list[EpisodeRecord]:
    """All records of a file, in order.

    Args:
        path: an `episodes.jsonl`.
        on_torn: told about a last line that was cut off while being written (the records before it are
            returned); the default issues a `TornLineWarning`.

    Raises:
        ValueError: any other line is not a record; names file and line.
    """
    path = Path(path)
    lines = path.read_bytes().split(b"\n")  # not splitlines: instructions may hold other line separators
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(EpisodeRecord.from_json(line.decode("utf-8")))
        except ValueError as error:
            if number < len(lines) or _is_whole_json(line):
                raise ValueError(f"{path}, line {number}: {error}") from error
            (on_torn or _warn_torn)(f"{path}, line {number}: cut off after {len(line)} bytes, left out")
    return records


def _is_whole_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8"))
    except ValueError:
        return False
    return True


def _warn_torn(message: str) -> None:
    warnings.warn(message, TornLineWarning, stacklevel=3)


def write_records(path: str | Path, records: Iterable[EpisodeRecord]) -> None:
    """Write all records, or leave the file as it was: a reader never sees half of them."""
    write_atomically(path, "".join(record.to_json() + "\n" for record in records))


def write_atomically(path: str | Path, text: str) -> None:
    """Write UTF-8 text to a file beside the target and rename it over the target.

    Raises:
        OSError: the folder cannot be written or is full; the target is unchanged and nothing stays beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def replay_command(record: EpisodeRecord, folder: str = "DIR") -> str:
    """What to type to rebuild the episode; `folder` is the output folder of its run."""
    name = "/".join(map(str, record.key))
    return f"python -m vla_sim.replay {shlex.quote(folder)} {shlex.quote(name)}"


def in_order(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """The records by policy and scenario (each in order of first appearance), then by index."""
    policies = {name: rank for rank, name in enumerate(dict.fromkeys(r.policy for r in records))}
    scenarios = {name: rank for rank, name in enumerate(dict.fromkeys(r.scenario for r in records))}
    return sorted(records, key=lambda r: (policies[r.policy], scenarios[r.scenario], r.index))
