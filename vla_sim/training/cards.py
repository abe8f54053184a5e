"""Model cards: what a policy is made of, how it was trained, what was measured, where it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.policies.folders import WEIGHTS, PolicyFolder
from vla_sim.scenarios.library import suites_of

DEFAULT_ROBOT = "serbot"
# How the shipped policies are made again.
TRAIN = "python -m recipes.train_all --out runs/v1 --publish policies"
HOW = """Imitation of the scripted expert in simulation: its own episodes, then rounds of DAgger, in worlds of seeds
below 100000, left and right balanced by mirroring:"""
LIMITS = """Only simulated images: expect no more of real ones. Kinds, colours and sides that the instructions of the
suites do not name are unknown to it."""
KEEPS_HEADING = "The expert that was imitated keeps its heading, so it does not turn."


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
    parts = [_head(found), _reads(found), _training(found, gate), _figures(measured, suite), _limits(found)]
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
        rows = {Path(row["model"]).name: row for row in table["rows"]}
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
    named = ", ".join(f"`{name}`" for name in _action_names(folder))
    sensors = "".join(f", the sensor `{name}`" for name in _network(folder).config.get("sensors") or {})
    robot = robot_of(folder)
    embodiment = "" if robot == DEFAULT_ROBOT else f" --embodiment {robot}"
    return f"""## What it reads and gives

A 224x224 RGB image from the robot's camera{sensors} and an instruction in English or Korean; body twists of {named}
in m/s and rad/s (x forward, y left, counter-clockwise). No privileged state.
Use: `vla-sim eval --policy {folder.name} --suite core{embodiment}`, or
`vla_sim.policies.registry.load_policy("{folder.name}")`."""


def _network(folder: PolicyFolder) -> PolicyFolder:
    """The folder itself, or the first member of an ensemble."""
    members = folder.needs() if folder.kind == "ensemble" else []
    return folder.sibling(members[0]) if members else folder


def _action_names(folder: PolicyFolder) -> tuple[str, ...]:
    """Components that the robot is sent."""
    action = _network(folder).config.get("action") or {}
    return tuple(action.get("driven") or action.get("names") or ("vx", "vy"))


def robot_of(folder: PolicyFolder) -> str:
    """The (first) robot that it was trained with."""
    return str(next(iter((_network(folder).config.get("training") or {}).get("robots", ())), DEFAULT_ROBOT))


def _limits(folder: PolicyFolder) -> str:
    turns = folder.kind.endswith("_backbone") or "wz" in _action_names(folder)
    return f"## Limits\n\n{LIMITS}" if turns else f"## Limits\n\n{LIMITS}\n{KEEPS_HEADING}"


def _training(folder: PolicyFolder, gate: Mapping[str, Any] | None) -> str:
    facts = dict(folder.config.get("training") or {})
    facts |= {name: ", ".join(value) for name, value in facts.items() if isinstance(value, list)}
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    if gate is not None:
        lines.append(
            f"- gate: solves {gate['both_instructions']} of {gate['worlds']} worlds under both instructions (training "
            f"seeds that it did not learn from); {'passed' if gate['passed'] else 'NOT passed'} after "
            f"{gate['extra_rounds']} extra rounds"
        )
    return "\n\n".join(["## Training", HOW, f"```bash\n{TRAIN}\n```", *(["\n".join(lines)] if lines else [])])


def _figures(row: Mapping[str, Any] | None, suite: str) -> str:
    if row is None:
        return ""
    low, high = row["success_rate_low"], row["success_rate_high"]
    reached = f"- reached, stopped or not: {row['success_reach']:.1%}\n" if "success_reach" in row else ""
    return (
        f"## Measured\n\n{suite[0].upper()}{suite[1:]}, held-out phrasings:\n\n"
        f"- success {row['success_rate']:.1%}, 95 % interval {low:.1%} to {high:.1%}; SPL {row['spl']:.3f}\n"
        f"{reached}"
        f"- collisions {row['collision_rate']:.1%}, wrong side {row['wrong_side_rate']:.1%}\n"
        f"- offline error against the expert {row['mae_mps']:.4f} m/s, without the first step "
        f"{row['mae_mps_without_first']:.4f} m/s"
    )
