"""Model cards: what a policy is made of, how it was trained, what was measured, where it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.policies.folders import CONFIG, WEIGHTS, PolicyFolder
from vla_sim.scenarios.library import suites_of

# How the shipped policies are made again; then those of `recipes.train_zoo`, from the same demonstrations.
TRAIN = "python -m recipes.train_shipped --out runs/train --publish policies"
TRAIN_ROWS = "python -m recipes.train_zoo --data runs/train/data --out runs/rows --publish policies"
HOW = """Imitation of the scripted expert in simulation, from scratch: its own episodes, then rounds of DAgger, in
worlds of seeds below 100000, left and right balanced by mirroring:"""
LIMITS = """Only simulated images: expect no more of real ones. The expert that was imitated keeps its heading, so no
policy here turns. Kinds, colours and sides that the instructions of the suites do not name are unknown to it."""


def write_card(
    folder: Path, gate: Mapping[str, Any] | None = None, measured: Mapping[str, Any] | None = None, suite: str = ""
) -> None:
    """Write a policy folder's README.

    Args:
        folder: of a trained policy, an ensemble or a backbone.
        gate: see `recipes.train_zoo`; None where there was none.
        measured: the policy's row of a benchmark's JSON; None where it was not driven.
        suite: what was driven, in words.
    """
    found = PolicyFolder.read(folder)
    parts = [_head(found), _reads(found), _training(found, gate), _figures(measured, suite), f"## Limits\n\n{LIMITS}"]
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def read_benchmark(path: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Rows of a benchmark by policy, and in words what was driven.

    Raises:
        UserError: it cannot be read.
    """
    try:
        table = json.loads(path.read_text("utf-8"))
        plan = table["provenance"]["plan"]
        suites = sorted({suite for text in plan["suites"] for suite in suites_of(text)} - {""})
        driven = f"suite {' and '.join(suites)}" if suites else ", ".join(plan["scenarios"])
        episodes = plan["episodes"] * len(plan["scenarios"])
        last = plan["seed"] + plan["episodes"] - 1
        rows = {row["model"]: row for row in table["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no benchmark's JSON: {error}") from error
    return rows, f"{driven}, {episodes} episodes, seeds {plan['seed']}..{last}"


def _head(folder: PolicyFolder) -> str:
    text = folder.description
    weights = folder.path / WEIGHTS
    size = f"{weights.stat().st_size / 1e6:.1f} MB of weights (safetensors)." if weights.is_file() else "No weights."
    names = folder.needs()
    shared = f" It needs {', '.join(f'`{name}`' for name in names)} beside it." if names else ""
    return (
        "---\nlicense: apache-2.0\ntags: [robotics, imitation-learning, vla-sim]\n---\n\n"
        f"# {folder.name}\n\n{text[0].upper()}{text[1:]}. {size}{shared}"
    )


def _reads(folder: PolicyFolder) -> str:
    if folder.kind.endswith("_backbone"):
        return "A part of policies; it does not drive by itself."
    return f"""## What it reads and gives

A 224x224 RGB picture from the robot's camera and an instruction in English or Korean; body twists in m/s and rad/s (x
forward, y left), which `{CONFIG}` names. No privileged state.
Use: `vla-sim eval --policy {folder.name} --suite core`, or
`vla_sim.policies.registry.load_policy("{folder.name}")`."""


def _training(folder: PolicyFolder, gate: Mapping[str, Any] | None) -> str:
    facts = dict(folder.config.get("training") or {})
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    if gate is not None:
        lines.append(
            f"- gate: solves {gate['both_instructions']} of {gate['worlds']} worlds under both instructions (training "
            f"seeds that it did not learn from); {'passed' if gate['passed'] else 'NOT passed'} after "
            f"{gate['extra_rounds']} extra rounds"
        )
    commands = f"{TRAIN}\n{TRAIN_ROWS}" if _rests_on_rows(folder) else TRAIN
    return "\n\n".join(["## Training", HOW, f"```bash\n{commands}\n```", *(["\n".join(lines)] if lines else [])])


def _rests_on_rows(folder: PolicyFolder) -> bool:
    """Whether `recipes.train_zoo` makes it."""
    if folder.kind == "ensemble":
        return any(_rests_on_rows(folder.sibling(name)) for name in folder.needs())
    return folder.kind in ("vla", "vla_backbone")


def _figures(row: Mapping[str, Any] | None, suite: str) -> str:
    if row is None:
        return ""
    low, high = row["success_rate_low"], row["success_rate_high"]
    return (
        f"## Measured\n\n{suite[0].upper()}{suite[1:]}, held-out phrasings:\n\n"
        f"- success {row['success_rate']:.1%}, 95 % interval {low:.1%} to {high:.1%}; SPL {row['spl']:.3f}\n"
        f"- collisions {row['collision_rate']:.1%}, wrong side {row['wrong_side_rate']:.1%}\n"
        f"- offline error against the expert {row['mae_mps']:.4f} m/s, without the first step "
        f"{row['mae_mps_without_first']:.4f} m/s"
    )
