"""Model cards of the rows: what they are made of, how they were trained, what was measured, where they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_sim.errors import UserError
from vla_sim.policies.folders import CONFIG, WEIGHTS, PolicyFolder

COMMANDS = """python -m vla_sim.train --out runs/train
python -m vla_sim.train_rows --data runs/train/data --out runs/rows --publish policies"""
DEMONSTRATIONS = "Demonstrations of the scripted expert, made from seeds below 100000:"
LIMITS = """Only simulated pictures: expect no more of real ones. The expert that was imitated keeps its heading, so no
policy here turns. Kinds, colours and sides that the instructions of the suites do not name are unknown to it."""


def write_card(folder: Path, gate: Mapping[str, Any] | None, measured: Mapping[str, Any] | None, suite: str) -> None:
    """Write a policy folder's README.

    Args:
        folder: of a row, an ensemble or a backbone.
        gate: see `vla_sim.train_rows`; None where there was none.
        measured: the policy's row of a benchmark's JSON; None where it was not driven.
        suite: what was driven, in words.
    """
    found = PolicyFolder.read(folder)
    parts = [_head(found), _made_of(found), _training(found, gate), _figures(measured, suite), f"## Limits\n\n{LIMITS}"]
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def read_benchmark(path: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Rows of a benchmark by policy, and in words what was driven.

    Raises:
        UserError: it cannot be read.
    """
    try:
        table = json.loads(path.read_text("utf-8"))
        plan = table["provenance"]["plan"]
        suites = sorted(set(plan["suites"]) - {""})
        words = f"suite {' and '.join(suites)}" if suites else ", ".join(plan["scenarios"])
        episodes = plan["episodes"] * len(plan["scenarios"])
        last = plan["seed"] + plan["episodes"] - 1
        return {
            row["model"]: row for row in table["rows"]
        }, f"{words}, {episodes} episodes, seeds {plan['seed']}..{last}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no benchmark's JSON: {error}") from error


def _head(folder: PolicyFolder) -> str:
    text = folder.description
    return (
        "---\nlicense: apache-2.0\ntags: [robotics, imitation-learning, vla-sim]\n---\n\n"
        f"# {folder.name}\n\n{text[0].upper()}{text[1:]}."
    )


def _made_of(folder: PolicyFolder) -> str:
    names = folder.needs()
    shared = f" It needs {', '.join(f'`{name}`' for name in names)} beside it." if names else ""
    weights = folder.path / WEIGHTS
    size = f"{weights.stat().st_size / 1e6:.1f} MB of weights (safetensors)." if weights.is_file() else "No weights."
    return f"{size}{shared} Reads a 224x224 RGB picture and an instruction in English or Korean; see `{CONFIG}`."


def _training(folder: PolicyFolder, gate: Mapping[str, Any] | None) -> str:
    facts = dict(folder.config.get("training") or {})
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    if gate is not None:
        lines.append(
            f"- gate: solves {gate['both_instructions']} of {gate['worlds']} worlds under both instructions (training "
            f"seeds that it did not learn from); {'passed' if gate['passed'] else 'NOT passed'} after "
            f"{gate['extra_rounds']} extra rounds"
        )
    listed = "\n".join(lines)
    return f"## Training\n\n{DEMONSTRATIONS}\n\n```bash\n{COMMANDS}\n```\n\n{listed}"


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
