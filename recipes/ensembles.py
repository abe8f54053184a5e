"""Ensembles fitted on drives that no member learned from: fixed weights, or a gate that looks at each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.core.files import write_whole
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.folders import CONFIG, FORMAT, WEIGHTS

if TYPE_CHECKING:
    from vla_sim.policies.base import Policy

GATE_HIDDEN, GATE_STEPS, GATE_RATE, GATE_DECAY = 64, 600, 3e-3, 1e-3
NUM_ENVS = 32


def predictions(members: Sequence[Policy], drives: Demonstrations) -> tuple[np.ndarray, np.ndarray]:
    """What the members would do at each image of recorded episodes, each remembering the episode.

    Args:
        members: of one ensemble.
        drives: labelled by the expert; nobody may have learned from them.

    Returns:
        Actions (M, F, A) and the expert's (F, A), m/s.
    """
    from vla_sim.policies.ensemble import member_actions

    found, wanted = [], []
    for first in range(0, len(drives.mask), NUM_ENVS):
        part = slice(first, min(first + NUM_ENVS, len(drives.mask)))
        mask, texts = drives.mask[part], [phrasings[0] for phrasings in drives.texts[part]]
        for member in members:
            member.reset(np.ones(len(mask), dtype=bool), np.arange(len(mask)))
        for step in range(int(mask.sum(axis=1).max())):
            observation = {"image": np.asarray(drives.images[part, step]), "instruction": texts}
            actions = member_actions(members, observation)
            found.append(actions[:, mask[:, step]])
            wanted.append(drives.actions[part, step][mask[:, step]])
    return np.concatenate(found, axis=1), np.concatenate(wanted)


def fitted_weights(actions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights (M,) with sum 1, none negative, whose mean action has the least squared error.

    Args:
        actions: (M, F, A).
        target: (F, A).
    """
    from scipy.optimize import nnls

    columns = actions.reshape(len(actions), -1).T
    # A heavy row holds the sum at 1.
    heavy = 1e3 * np.sqrt(len(columns))
    weights, _ = nnls(np.vstack([columns, np.full((1, len(actions)), heavy)]), np.append(target.ravel(), heavy))
    return np.asarray(weights / weights.sum())


def fitted_gate(actions: np.ndarray, target: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of a `weighing.Gate` that minimise the squared error of the weighed action.

    Args:
        actions: (M, F, A).
        target: (F, A).
        seed: of its initial weights.
    """
    import torch

    members, frames, components = actions.shape
    inputs = torch.from_numpy(actions).float().transpose(0, 1)
    wanted = torch.from_numpy(target).float()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, out = torch.nn.Linear(members * components, GATE_HIDDEN), torch.nn.Linear(GATE_HIDDEN, members)
    parameters = [*first.parameters(), *out.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=GATE_RATE, weight_decay=GATE_DECAY)
    for _ in range(GATE_STEPS):
        shares = out(first(inputs.reshape(frames, -1)).relu()).softmax(dim=1)
        loss = ((shares[..., None] * inputs).sum(dim=1) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {
        "first.weight": first.weight.detach().numpy(),
        "first.bias": first.bias.detach().numpy(),
        "out.weight": out.weight.detach().numpy(),
        "out.bias": out.bias.detach().numpy(),
    }


def write_ensemble(
    folder: Path,
    members: Sequence[str],
    fusion: str,
    description: str,
    *,
    weights: Sequence[float] = (),
    gate: dict[str, np.ndarray] | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Write an ensemble's policy folder.

    Args:
        folder: made where it is missing.
        members: names of policies beside it.
        fusion: see `vla_sim.policies.ensemble.FUSIONS`.
        description: one line.
        weights: of the members, unless there is a gate.
        gate: see `fitted_gate`.
        training: facts, for people.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"format": FORMAT, "type": "ensemble", "description": description}
    config |= {"members": list(members), "fusion": fusion}
    if gate is None:
        config["weights"] = [round(float(weight), 4) for weight in weights]
    else:
        write_whole(folder / WEIGHTS, save({name: np.ascontiguousarray(tensor) for name, tensor in gate.items()}))
    if training:
        config["training"] = training
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
