"""Which training code wrote a checkpoint, told from the names of its weights. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vla_sim.policies.checkpoints.report import some
from vla_sim.policies.folders import PolicyError

# What one part is called in different files -> its one name here.
PARTS = {
    "kosmos": "kosmos2",
    "kosmos2_model": "kosmos2",
    "backbone": "kosmos2",
    "clip_model": "clip",
    "policy_head": "act_head",
}
# Inner names: those of older transformers, and those that differ from the modules used here.
INNER = (
    ("clip_vision.vision_model.", "clip_vision."),
    ("clip_text.text_model.", "clip_text."),
    ("vision_resampler.query_tokens", "vision_resampler.queries"),
    ("vision_resampler.cross_attention.", "vision_resampler.attention."),
    ("vision_resampler.norm1.", "vision_resampler.norm_attention."),
    ("vision_resampler.norm2.", "vision_resampler.norm_out."),
    ("vision_resampler.ffn.", "vision_resampler.feed_forward."),
    ("vision_resampler.output_proj.", "vision_resampler.out."),
    ("vision_resampler.input_proj.", "vision_resampler.project."),
    ("clip_normalization.feature_enhancement.", "clip_normalization.bottleneck."),
)
# Buffers that decide nothing while driving: tables that are computed, and weights of losses.
NOTHING = ("position_ids", "embed_positions.weights", "class_weights_tensor", "target_class_prior_tensor")


@dataclass(frozen=True)
class Layout:
    """One kind of checkpoint that can drive.

    Attributes:
        name: in config.json.
        description: one line.
        needs: first parts of names that only together tell this layout.
        without: parts that tell that it is another one.
        backbones: whose sizes must come from a folder or the hub, "kosmos2" and "clip".
        reads_language: whether the instruction reaches the action.
        defaults: of config.json, as far as the users' documents say.
    """

    name: str
    description: str
    needs: frozenset[str]
    without: frozenset[str]
    backbones: tuple[str, ...]
    reads_language: bool
    defaults: Mapping[str, Any]


def _layout(name: str, description: str, needs: str, backbones: str, **more: Any) -> Layout:
    return Layout(
        name,
        description,
        frozenset(needs.split()),
        frozenset(more.pop("without", "").split()),
        tuple(backbones.split()),
        more.pop("reads_language", True),
        more,
    )


LAYOUTS = {
    layout.name: layout
    for layout in (
        _layout(
            "mobile_vla",
            "Mobile VLA epoch file: Kosmos-2's image, repeated over the window, LSTM",
            "action_lstm action_head",
            "kosmos2",
            reads_language=False,
            pictures={"kosmos2": "imagenet"},
            outputs=("vx", "vy", "wz"),
        ),
        _layout(
            "normalised_hybrid",
            "Kosmos-2 and CLIP with resampler and CLIP normalisation, LSTM over one step",
            "vision_resampler feature_fusion lstm action_head lstm_projection",
            "kosmos2 clip",
            pictures={"kosmos2": "clip_twice", "clip": "clip_twice"},
            prompt="{instruction}",
            outputs=("vx", "vy"),
        ),
        _layout(
            "token_hybrid",
            "Kosmos-2 and CLIP with resampler, LSTM over the image's tokens",
            "vision_resampler feature_fusion lstm action_head",
            "kosmos2 clip",
            without="lstm_projection clip_normalization",
            pictures={"kosmos2": "clip_twice", "clip": "unit"},
            prompt="{instruction}",
            outputs=("vx", "vy"),
        ),
        _layout(
            "clip_mlp",
            "CLIP's image and text, MLP (augmented CLIP, simple CLIP)",
            "fusion action_head",
            "clip",
            without="lstm action_lstm",
            pictures={"clip": "unit"},
            prompt="{instruction}",
            outputs=("vx", "vy"),
        ),
        _layout(
            "robovlms",
            "RoboVLMs: Kosmos-2 with an action token, LSTM over the window, tanh MLP or classes",
            "act_head action_token",
            "kosmos2",
            pictures={"kosmos2": "clip"},
            prompt="<grounding>An image of a robot {instruction}",
            outputs=("vx", "vy"),
        ),
    )
}
# Files of the users' that are known and cannot drive: parts of their names, and why.
REFUSED = (
    (
        ("vision_encoder", "text_encoder", "vision_processor", "text_processor"),
        "its inputs are features that another program extracted beforehand; that program's weights are not in the file",
    ),
    (
        ("ensemble_fusion", "ensemble_weights", "lstm_model", "mlp_model"),
        "it is the users' ensemble, whose members are random networks and not the trained policies; "
        'use type "ensemble" with two checkpoints\' folders as members',
    ),
    (
        ("text_adapter", "text_projection_adapter", "perceiver", "position_embedding", "gpt2"),
        "this variant was never seen to drive and its forward pass is not documented well enough to rebuild",
    ),
)


def canonical(name: str) -> str:
    """The one name of a weight, whatever its file calls it (wrappers already gone)."""
    first, dot, rest = name.partition(".")
    name = f"{PARTS.get(first, first)}{dot}{rest}"
    for theirs, ours in INNER:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def as_in_file(name: str, parts: Mapping[str, str]) -> str:
    """What a weight that is missing would be called in a file.

    Args:
        name: canonical.
        parts: what the file calls the parts that it has.
    """
    for theirs, ours in INNER:
        if theirs not in ("clip_vision.vision_model.", "clip_text.text_model.") and name.startswith(ours):
            name = theirs + name.removeprefix(ours)
            break
    first, dot, rest = name.partition(".")
    return f"{parts.get(first, first)}{dot}{rest}"


def decides_nothing(name: str) -> bool:
    """Whether a tensor is a buffer that no forward pass reads from the file."""
    return name.endswith(NOTHING)


def recognise(names: Iterable[str], file: str, wanted: str = "") -> Layout:
    """The layout of a checkpoint.

    Args:
        names: canonical names of its weights.
        file: for messages.
        wanted: what config.json says it is; empty: told from the names alone.

    Raises:
        PolicyError: none fits; the message lists what is there and what would be needed.
    """
    parts = {name.partition(".")[0] for name in names}
    if wanted:
        layout = LAYOUTS[wanted]
        gone = sorted(layout.needs - parts)
        # A layer that is made at the first step is named by the loading report, with the reason.
        if [part for part in gone if not part.endswith("_projection")]:
            raise PolicyError(f"{file} is no {wanted}: it has no {some(gone)} (it has {some(sorted(parts))})")
        return layout
    for layout in LAYOUTS.values():
        if layout.needs <= parts and not layout.without & parts:
            return layout
    # The normalised hybrid, saved before its first step.
    if {"vision_resampler", "feature_fusion", "lstm", "clip_normalization"} <= parts:
        return LAYOUTS["normalised_hybrid"]
    for marks, why in REFUSED:
        if parts.intersection(marks):
            raise PolicyError(f"{file} cannot drive: {why} (it has {some(sorted(parts))})")
    known = "; ".join(f"{layout.name}: {', '.join(sorted(layout.needs))}" for layout in LAYOUTS.values())
    raise PolicyError(f"{file} is of no known layout: it has {some(sorted(parts))}. Known are {known}")
