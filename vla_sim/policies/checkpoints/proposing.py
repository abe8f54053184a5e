"""A first `config.json` for a checkpoint, from what its file and the users' documents say. Loads torch to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_sim.policies.checkpoints.files import KIND
from vla_sim.policies.checkpoints.hyper_parameters import HyperParameters
from vla_sim.policies.checkpoints.layouts import Layout, canonical, recognise
from vla_sim.policies.checkpoints.reading import Contents, read_checkpoint
from vla_sim.policies.folders import CONFIG, FORMAT, PolicyError

HUB_IDS = {"kosmos2": "microsoft/kosmos-2-patch14-224", "clip": "openai/clip-vit-base-patch32"}
# What the users' collector writes for a key that is held, and how fast their robot then really moves (0.45 to 0.6 m/s,
# worked out from their layouts): the label says 1.15 m/s, which the robot never reached.
LABEL, REAL_MPS = 1.15, 0.5
# Of the users' nine classes: stop, F, B, L, R, FL, FR, BL, BR.
SIGNS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def proposed_config(path: Path) -> tuple[Layout, dict[str, Any]]:
    """The layout of a checkpoint and a config for it; what it assumes is for the user to check.

    Raises:
        PolicyError: the file cannot be read safely, or is of no known layout.
    """
    contents = read_checkpoint(path)
    layout = recognise([canonical(name) for name in contents.state], path.name)
    config: dict[str, Any] = {
        "format": FORMAT,
        "type": KIND,
        "description": f"{path.stem}: {layout.description}",
        "file": path.name,
        "layout": layout.name,
        "action": _action(layout, contents),
        "channels": "rgb",
        "backbones": {name: HUB_IDS[name] for name in layout.backbones},
        "download": False,
    }
    config |= {key: value for key, value in layout.defaults.items() if key != "outputs"}
    config |= _said(layout, HyperParameters(contents.facts), path)
    return layout, config


def _said(layout: Layout, facts: HyperParameters, path: Path) -> dict[str, int]:
    """Sizes that no shape tells: as the file says, else those that the users trained most with."""
    usual = {"mobile_vla": {"window": 8, "chunk": 2}, "robovlms": {"window": 8, "context_length": 256}}
    wanted: dict[str, int] = {**dict.fromkeys(("lstm_layers", "attention_heads"), 0), **usual.get(layout.name, {})}
    try:
        found = {key: facts.number(key) or number for key, number in wanted.items()}
    except ValueError as error:
        raise PolicyError(f"{path}: {error}; which one was it trained with?") from error
    return {key: number for key, number in found.items() if number}


def write_config(path: Path, config: Mapping[str, Any]) -> Path:
    """Write a config beside a checkpoint.

    Raises:
        PolicyError: there is one already.
    """
    place = path.parent / CONFIG
    if place.exists():
        raise PolicyError(f"{place} is there already; it is left as it is")
    place.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", "utf-8")
    return place


def _action(layout: Layout, contents: Contents) -> dict[str, Any]:
    names = {canonical(name): tuple(tensor.shape) for name, tensor in contents.state.items()}
    ends = [(int(n.split(".")[1]), size[0]) for n, size in names.items() if _is_end(n)]
    if "act_head.logits.weight" in names:
        classes = [[x * LABEL, y * LABEL] for x, y in SIGNS]
        return {**_outputs(("vx", "vy"), LABEL, REAL_MPS / LABEL), "classes": classes}
    if layout.name == "robovlms":
        # A tanh head trained on actions that were divided by 1.15, unless the file says by what.
        low, high = HyperParameters(contents.facts).normalised_to() or (-LABEL, LABEL)
        if low != -high or not high > 0:
            raise PolicyError(
                f"{contents.path} was trained on actions normalised from {low:g} to {high:g}: only ranges of equal "
                "lengths to both sides can be driven"
            )
        return _outputs(("vx", "vy"), 1.0, REAL_MPS * high / LABEL)
    count = max(ends)[1] if ends else len(layout.defaults["outputs"])
    return _outputs(("vx", "vy", "wz")[:count], LABEL, REAL_MPS / LABEL)


def _outputs(names: tuple[str, ...], limit: float, scale: float) -> dict[str, Any]:
    return {
        "outputs": list(names),
        "scale": [round(scale, 4)] * len(names),
        "limit": [limit] * len(names),
        "driven": ["vx", "vy"],
        "chunk_index": 0,
    }


def _is_end(name: str) -> bool:
    part, _, rest = name.partition(".")
    return part == "action_head" and rest.endswith(".weight") and rest.split(".")[0].isdigit()
