"""The tables of a model's config as values that check themselves. Plain data: neither torch nor transformers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vla_sim.core.errors import suggest
from vla_sim.core.specs import ACTION_NAMES

BACKBONES = ("kosmos2", "clip", "both")
HEADS = ("lstm", "window_lstm", "mlp", "gpt2", "discrete")
CODECS = ("continuous", "laplace", "headings", "bins")
RESAMPLERS = ("mobile", "perceiver")
NORMALISATIONS = ("bottleneck", "l2")
FUSIONS = ("spatial", "pooled")

T = TypeVar("T")


def table(cls: type[T], values: Mapping[str, Any] | None, owner: str) -> T:
    """An instance of a spec from an object of a config.json; lists become tuples.

    Raises:
        ValueError: an unknown key (with the nearest name) or a value that makes no sense.
    """
    if values is not None and not isinstance(values, Mapping):
        raise ValueError(f"{owner} must be an object, got {values!r}")
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values or {}:
        if key not in known:
            raise ValueError(f"unknown key {owner}.{key}; {suggest(key, known)}")
    try:
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in (values or {}).items()})
    except TypeError as error:
        raise ValueError(f"{owner}: {error}") from error


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _whole(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{owner}.{name} must be a positive whole number, got {value!r}")


def _share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}")


@dataclass(frozen=True)
class ActionSpec:
    """What the numbers that a model gives mean.

    Attributes:
        names: components, some of ("vx", "vy", "wz") in that order: two or three in use, one is allowed.
        units: of the components in words.
        scale: what a normalised 1 is in m/s (vx, vy) or rad/s (wz), one number for each component.
        driven: those of the names that the robot is sent; empty: all. A model that learned three components drives a
            robot of two by leaving one out.
        horizon: consecutive actions that one decision gives, one control step apart.
    """

    names: tuple[str, ...] = ("vx", "vy")
    units: str = "m/s, rad/s"
    scale: tuple[float, ...] = (0.5, 0.5)
    driven: tuple[str, ...] = ()
    horizon: int = 1

    def __post_init__(self) -> None:
        if not self.names or [name for name in ACTION_NAMES if name in self.names] != list(self.names):
            raise ValueError(f"action.names must be some of {ACTION_NAMES} in this order, got {self.names}")
        numbers = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in self.scale)
        if not numbers or len(self.scale) != len(self.names) or not all(0 < s < math.inf for s in self.scale):
            raise ValueError(f"action.scale must be one positive number for each of {self.names}, got {self.scale}")
        if [name for name in self.names if name in self.driven] != list(self.driven):
            raise ValueError(f"action.driven must be some of {self.names} in this order, got {self.driven}")
        _whole("action", horizon=self.horizon)

    @property
    def driven_names(self) -> tuple[str, ...]:
        """The components that the robot is sent."""
        return self.driven or self.names


@dataclass(frozen=True)
class HeadSpec:
    """What turns features into actions.

    Attributes:
        kind: lstm remembers the episode, window_lstm and gpt2 the last `window` steps, mlp nothing; discrete is an
            LSTM over classes.
        codec: continuous actions, laplace (continuous, with how far off they may be), the nine headings, or bins per
            component; empty: headings for discrete, else continuous.
        hidden, layers, dropout: of the memory.
        window: steps that gpt2 and window_lstm see.
        attention_heads: of gpt2; must divide hidden.
        bins: per component, for codec bins.
        threshold, level: normalised; a component beyond the threshold counts as moving, and is driven at the level.
        class_weights: of the nine headings in the loss; empty: all alike.
    """

    kind: str = "lstm"
    codec: str = ""
    hidden: int = 256
    layers: int = 1
    dropout: float = 0.0
    window: int = 8
    attention_heads: int = 4
    bins: int = 21
    threshold: float = 0.26
    level: float = 1.0
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _one_of("head.kind", self.kind, HEADS)
        if not self.codec:
            object.__setattr__(self, "codec", "headings" if self.kind == "discrete" else "continuous")
        _one_of("head.codec", self.codec, CODECS)
        if self.kind == "discrete" and self.codec in ("continuous", "laplace"):
            raise ValueError(f"head.codec must be headings or bins for a discrete head, got {self.codec!r}")
        _whole("head", hidden=self.hidden, layers=self.layers, window=self.window, bins=self.bins)
        _whole("head", attention_heads=self.attention_heads)
        _share("head.dropout", self.dropout)
        if self.kind == "gpt2" and self.hidden % self.attention_heads:
            raise ValueError(f"head.attention_heads must divide hidden {self.hidden}, got {self.attention_heads}")
        if not 0 < self.threshold < self.level <= 1:
            raise ValueError(f"head must have 0 < threshold < level <= 1, got {self.threshold} and {self.level}")


@dataclass(frozen=True)
class ResamplerSpec:
    """Turns any number of patch tokens into a fixed number of queries.

    Attributes:
        kind: mobile (one cross-attention layer) or perceiver (`depth` layers, queries also attend to themselves).
        queries, width: tokens that come out, and their width.
        heads: of the attention; for mobile they must divide the width.
        head_width: of a perceiver's attention heads.
        depth: layers of a perceiver.
        ratio: width of the feed-forward part in widths; the users' models have 2 (mobile) and 4 (perceiver).
        dropout: of a mobile resampler.
    """

    kind: str = "mobile"
    queries: int = 64
    width: int = 768
    heads: int = 8
    head_width: int = 64
    depth: int = 6
    ratio: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _one_of("resampler.kind", self.kind, RESAMPLERS)
        sizes = {key: value for key, value in vars(self).items() if key not in ("kind", "dropout")}
        _whole("resampler", **sizes)
        _share("resampler.dropout", self.dropout)
        if self.kind == "mobile" and self.width % self.heads:
            raise ValueError(f"resampler.heads must divide width {self.width}, got {self.heads}")


@dataclass(frozen=True)
class FusionSpec:
    """How what is seen and what is said become the features that a head reads.

    Attributes:
        kind: spatial (language modulates every patch, each keeps its place) or pooled (means, concatenated).
        channels: of a patch while language modulates it.
        readout: numbers that are kept of each patch.
        feature_dim: of the features.
        dropout: on the features while training.
    """

    kind: str = "spatial"
    channels: int = 96
    readout: int = 24
    feature_dim: int = 256
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _one_of("fusion.kind", self.kind, FUSIONS)
        _whole("fusion", channels=self.channels, readout=self.readout, feature_dim=self.feature_dim)
        _share("fusion.dropout", self.dropout)


@dataclass(frozen=True)
class PromptIds:
    """Token ids that surround a picture in Kosmos-2's input; the defaults are those of its own tokenizer.

    Attributes:
        bos: start of the text.
        image, image_end: "<image>" and "</image>".
    """

    bos: int = 0
    image: int = 64003
    image_end: int = 64004
