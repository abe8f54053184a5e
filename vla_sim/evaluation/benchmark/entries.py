"""Who takes part in a benchmark: names to policies, what they are, how large they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.evaluation.floors import FLOORS
from vla_sim.policies.checkpoints import files as checkpoints
from vla_sim.policies.folders import CONFIG, WEIGHTS, PolicyFolder
from vla_sim.policies.registry import is_class, load_policy, policy_folder, policy_names, refuse_unusable

EVERYONE = "all"
# A policy with two backbones has two vocabularies.
TOKENIZERS = "tokenizer*.json"
LEARNED, SCRIPTED, CUSTOM, FLOOR = "learned", "scripted", "custom", "floor"
# Tensors in a weights' file that are not learned by descent: running statistics of batch normalisation.
NO_PARAMETERS = ("running_mean", "running_var")
# How safetensors begins the names of types that count or index and are not learned: I64, U8, BOOL, ...
NO_FLOATS = ("I", "U", "BOOL")


@dataclass(frozen=True)
class BenchmarkEntry:
    """A policy of the benchmark.

    Attributes:
        name: as given.
        kind: "learned" (its folder has weights), "scripted", "custom" for `module:Class`, whose size is unknown, or
            "floor" for what does not look (`vla_sim.evaluation.floors`).
        description: one line.
        parameters: how many numbers it has learned, in all folders that it needs, each folder counted once.
        size_bytes: of config, weights and tokenizer in these folders.
        parts: by name of each needed folder, (parameters, bytes).
    """

    name: str
    kind: str
    description: str
    parameters: int | None
    size_bytes: int | None
    parts: dict[str, tuple[int, int]]


def chosen_policies(names: Sequence[str], embodiment: str) -> tuple[list[str], dict[str, str]]:
    """The policies that are meant, and by name why others cannot take part.

    Args:
        names: names as for `load_policy`; "all" stands for every folder in `policies/` that can drive this robot, but
            for the floors, which every table has anyway.
        embodiment: name of the robot.

    Raises:
        UserError: a name that is not "all" means nothing (with the nearest name), or a policy that cannot drive it.
    """
    chosen: dict[str, None] = {}
    left_out: dict[str, str] = {}
    robot = load_embodiment(embodiment)
    for name in names:
        if name != EVERYONE:
            refuse_unusable(name, robot)
            reason = "" if is_class(name) else _why_not(name, robot)
            if reason:
                raise UserError(f"policy {name!r} {reason}")
            chosen[name] = None
            continue
        for known in policy_names():
            if known in FLOORS:
                continue
            reason = _why_not(known, robot)
            if reason:
                left_out[known] = reason
            else:
                chosen[known] = None
    return list(chosen), {name: reason for name, reason in left_out.items() if name not in chosen}


def _why_not(name: str, robot: Embodiment) -> str:
    """Why the policy of a folder cannot drive this robot; "" if it can."""
    try:
        policy = load_policy(name)
    except (UserError, ImportError) as error:
        return str(error)
    return policy.spec.misfit(robot)


def benchmark_entry(name: str) -> BenchmarkEntry:
    """What is known about a policy without loading it."""
    if ":" in name:
        return BenchmarkEntry(name, CUSTOM, name, None, None, {})
    folder = policy_folder(name)
    parts = {part.name: (_parameters(part), _size(part)) for part in needed_folders(folder).values()}
    parameters = sum(count for count, _ in parts.values())
    return BenchmarkEntry(
        name=name,
        kind=FLOOR if name in FLOORS else LEARNED if parameters else SCRIPTED,
        description=folder.description,
        parameters=parameters,
        size_bytes=sum(size for _, size in parts.values()),
        parts=parts,
    )


def needed_folders(folder: PolicyFolder) -> dict[Path, PolicyFolder]:
    """The folder, its backbone and its members with theirs, by path: one that several need comes once."""
    found = {folder.path: folder}
    for other in folder.needs():
        found |= needed_folders(folder.sibling(other))
    return found


def _parameters(folder: PolicyFolder) -> int:
    """How many numbers in the weights' file are parameters; read from its head, no weight is loaded."""
    from safetensors import SafetensorError, safe_open

    if folder.kind == checkpoints.KIND:
        return _parameters_of_checkpoint(folder)
    path = folder.path / WEIGHTS
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "numpy") as weights:
            tensors = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 (it is no mapping)
            shapes = {name: t.get_shape() for name, t in tensors.items() if not t.get_dtype().startswith(NO_FLOATS)}
    except (SafetensorError, OSError) as error:
        raise UserError(f"weights cannot be read (truncated?): {error} ({path})") from error
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(NO_PARAMETERS))


def _parameters_of_checkpoint(folder: PolicyFolder) -> int:
    """As far as they are in the file; backbones that are kept elsewhere do not count."""
    from vla_sim.policies.checkpoints.reading import read_checkpoint

    state = read_checkpoint(checkpoints.file_of(folder)).state
    return sum(t.numel() for name, t in state.items() if t.is_floating_point() and not name.endswith(NO_PARAMETERS))


def _size(folder: PolicyFolder) -> int:
    if folder.kind == checkpoints.KIND:
        return sum(path.stat().st_size for path in (folder.path / CONFIG, checkpoints.file_of(folder)))
    paths = [folder.path / CONFIG, folder.path / WEIGHTS, *folder.path.glob(TOKENIZERS)]
    return sum(path.stat().st_size for path in paths if path.is_file())
