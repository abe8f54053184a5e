"""The `config.json` of a checkpoint as values that check themselves. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_sim.core.errors import suggest
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.policies.checkpoints.layouts import LAYOUTS, Layout
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.models.specs import table

# How pixels 0..255 become a network's input: factor, mean, deviation.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGES: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "unit": (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": (1 / 255, CLIP_MEAN, CLIP_STD),
    # Images in 0..1 given to a processor that divides by 255 once more, as the users' hybrids do.
    "clip_twice": (1 / 255**2, CLIP_MEAN, CLIP_STD),
}
CHANNELS = ("rgb", "bgr")
# No text, window, chunk or image is longer; such a number would only fail for want of memory.
MOST = 16_384
NORMALISATIONS = ("found", "none")
KEYS = (
    *("file", "layout", "action", "pictures", "channels", "prompt", "backbones", "download", "context_length"),
    *(
        "attention_heads",
        "lstm_layers",
        "window",
        "chunk",
        "normalisation",
        "prompt_ids",
        "ignore",
        "image_px",
        "first_step_zero",
    ),
)


@dataclass(frozen=True)
class OutputSpec:
    """What the numbers that a checkpoint's network gives mean, and what the robot is sent.

    Attributes:
        outputs: the components in the order of the network, some of vx (forward), vy (left), wz (counter-clockwise).
        scale: m/s or rad/s of an output of 1, one for each; negative turns the axis round.
        limit: outputs are first limited to plus and minus this, in the network's own units; one for each.
        driven: those that the robot is sent, in the order vx, vy, wz; empty: all.
        chunk_index: which of consecutive actions is driven; 0 is the first.
        classes: for networks that pick classes: the outputs of each class.
    """

    outputs: tuple[str, ...]
    scale: tuple[float, ...]
    limit: tuple[float, ...]
    driven: tuple[str, ...] = ()
    chunk_index: int = 0
    classes: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.outputs or len(set(self.outputs)) != len(self.outputs) or set(self.outputs) - set(ACTION_NAMES):
            raise ValueError(f"action.outputs must be some of {ACTION_NAMES}, each once, got {self.outputs}")
        for name, values, fits in (
            ("scale", self.scale, lambda value: value != 0),
            ("limit", self.limit, lambda value: value > 0),
        ):
            if len(values) != len(self.outputs) or not all(_number(value) and fits(value) for value in values):
                raise ValueError(f"action.{name} must be one number for each of {self.outputs}, got {values}")
        if [name for name in ACTION_NAMES if name in self.driven] != list(self.driven) or set(self.driven) - set(
            self.outputs
        ):
            raise ValueError(f"action.driven must be some of {self.outputs} in the order vx, vy, wz, got {self.driven}")
        if isinstance(self.chunk_index, bool) or not isinstance(self.chunk_index, int) or self.chunk_index < 0:
            raise ValueError(f"action.chunk_index must be a whole number from 0 on, got {self.chunk_index!r}")
        for row in self.classes:
            if not isinstance(row, (list, tuple)) or len(row) != len(self.outputs) or not all(map(_number, row)):
                raise ValueError(f"action.classes must be lists of {len(self.outputs)} numbers, got {row!r}")

    @property
    def driven_names(self) -> tuple[str, ...]:
        """The components that the robot is sent, in the order vx, vy, wz."""
        return self.driven or tuple(name for name in ACTION_NAMES if name in self.outputs)


@dataclass(frozen=True)
class CheckpointSpec:
    """All that a checkpoint's file does not say about itself.

    Attributes:
        layout: one of `LAYOUTS`; empty: told from the file.
        action: see `OutputSpec`.
        images: by backbone, one of `IMAGES`.
        channels: order in which the network saw the colours while it was trained.
        prompt: what the text encoder reads; {instruction} is replaced.
        backbones: by name, a folder (relative to the checkpoint's) or hub id with sizes, tokenizer, perhaps weights.
        download: ask the hub for what is not there.
        context_length: tokens of a text.
        attention_heads: of the resampler and the adaptive normalisation; no shape tells it.
        lstm_layers: of the LSTM; 0: as in the users' code, 4 for robovlms and else 2.
        window, chunk: steps that the network sees and gives, where the file does not say; 0: it must say.
        normalisation: "found", or "none" for a hybrid that was trained without.
        prompt_ids: see `vla_sim.policies.models.specs.PromptIds`.
        ignore: prefixes of weights that do not matter.
        image_px: (width, height) of the images that the policy asks for.
        first_step_zero: the first action of an episode is a standstill, as the users' server enforces.
    """

    action: OutputSpec
    layout: str = ""
    pictures: Any = None
    channels: str = "rgb"
    prompt: str = "{instruction}"
    backbones: Any = None
    download: bool = False
    context_length: int = 64
    attention_heads: int = 8
    lstm_layers: int = 0
    window: int = 0
    chunk: int = 0
    normalisation: str = "found"
    prompt_ids: Any = None
    ignore: tuple[str, ...] = ()
    image_px: tuple[int, ...] = (224, 224)
    first_step_zero: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("layout", self.layout, ("", *LAYOUTS)),
            ("channels", self.channels, CHANNELS),
            ("normalisation", self.normalisation, NORMALISATIONS),
        ):
            if value not in allowed:
                raise ValueError(f"unknown {name} {value!r}; {suggest(str(value), [a for a in allowed if a])}")
        for name in ("context_length", "attention_heads"):
            if not _whole(getattr(self, name), 1):
                raise ValueError(
                    f"{name} must be a positive whole number up to {MOST}, got {getattr(self, name)!r:.80}"
                )
        for name in ("lstm_layers", "window", "chunk"):
            if not _whole(getattr(self, name), 0):
                raise ValueError(f"{name} must be a whole number up to {MOST}, got {getattr(self, name)!r:.80}")
        for name in ("download", "first_step_zero"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not isinstance(self.prompt, str):
            raise ValueError(f"prompt must be text, got {self.prompt!r}")
        if len(self.image_px) != 2 or not all(_whole(side, 1) for side in self.image_px):
            raise ValueError(f"image_px must be [width, height], got {self.image_px}")
        if not all(isinstance(prefix, str) and prefix for prefix in self.ignore):
            raise ValueError(f"ignore must be a list of prefixes, got {self.ignore}")
        for name in ("pictures", "backbones"):
            _check_texts(name, getattr(self, name))
        for kind in (self.pictures or {}).values():
            if kind not in IMAGES:
                raise ValueError(f"unknown images {kind!r}; {suggest(kind, IMAGES)}")

    @classmethod
    def of(cls, folder: PolicyFolder) -> CheckpointSpec:
        """From a policy folder's config.

        Raises:
            PolicyError: a key that is unknown, missing or makes no sense.
        """
        folder.know(KEYS)
        values = {key: folder.config[key] for key in KEYS if key in folder.config and key != "file"}
        try:
            action = table(OutputSpec, folder.get("action", dict), "action")
            values.pop("action")
            return table(cls, values, "", action=action)
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error

    def check_for(self, layout: Layout) -> None:
        """Raises: ValueError: the layout needs something that the config does not say."""
        for name, values in (("pictures", self.pictures or {}), ("backbones", self.backbones or {})):
            for part in layout.backbones:
                if part not in values:
                    raise ValueError(f"{name}.{part} is missing; layout {layout.name} needs it")
            for part in values:
                if part not in layout.backbones:
                    raise ValueError(f"unknown {name}.{part}; {suggest(part, layout.backbones)}")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def _check_texts(name: str, values: Any) -> None:
    if values is not None and not (
        isinstance(values, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in values.items())
    ):
        raise ValueError(f"{name} must be an object of texts, got {values!r}")
