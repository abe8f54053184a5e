"""The tables of a model's config as values that check themselves. Plain data: neither torch nor transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vla_sim.core.config import Place, read_table
from vla_sim.core.sensors import LidarSpec, Sensor
from vla_sim.core.specs import ACTION_NAMES

BACKBONES = ("kosmos2", "clip", "both", "conv_clip", "open_clip")
# Names of the single backbones: "both" is Kosmos-2 and CLIP.
SINGLE = ("kosmos2", "clip", "conv_clip", "open_clip")
HEADS = ("lstm", "window_lstm", "mlp", "gpt2", "discrete")
CODECS = ("continuous", "laplace", "headings", "bins")
RESAMPLERS = ("mobile", "perceiver")
NORMALISATIONS = ("bottleneck", "l2")
FUSIONS = ("spatial", "pooled")
# No network of this kind is larger: such a number is a slip or a lie, and would only fail for want of memory.
MOST, MOST_LAYERS = 10_000_000, 1000

T = TypeVar("T")


def table(cls: type[T], values: Mapping[str, Any] | None, owner: str, **given: Any) -> T:
    """An instance of a spec from an object of a config.json; lists become tuples.

    Args:
        cls: the spec.
        values: the object; None for all defaults.
        owner: its key.
        given: fields that are no keys.

    Raises:
        ValueError: an unknown key (with the nearest name) or a value that makes no sense.
    """
    return read_table(cls, {} if values is None else values, Place("", owner), **given)


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises: ValueError: a value that is not among these."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r:.80}")


def whole(owner: str, **values: Any) -> None:
    """Raises: ValueError: a value that is no positive whole number, or larger than any network has."""
    owner = f"{owner}." if owner else ""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{owner}{name} must be a positive whole number, got {value!r:.80}")
        most = MOST_LAYERS if name.endswith(("layers", "depth", "horizon", "window")) else MOST
        if value > most:
            raise ValueError(f"{owner}{name} must be at most {most}, got {value!r:.80}")


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
        still: components that a robot may have besides and that are sent as 0; see `PolicySpec`.
        horizon: consecutive actions that one decision gives, one control step apart.
    """

    names: tuple[str, ...] = ("vx", "vy")
    units: str = "m/s, rad/s"
    scale: tuple[float, ...] = (0.5, 0.5)
    driven: tuple[str, ...] = ()
    horizon: int = 1
    still: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or [name for name in ACTION_NAMES if name in self.names] != list(self.names):
            raise ValueError(f"action.names must be some of {ACTION_NAMES} in this order, got {self.names}")
        numbers = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in self.scale)
        if not numbers or len(self.scale) != len(self.names) or not all(0 < s < math.inf for s in self.scale):
            raise ValueError(f"action.scale must be one positive number for each of {self.names}, got {self.scale}")
        if [name for name in self.names if name in self.driven] != list(self.driven):
            raise ValueError(f"action.driven must be some of {self.names} in this order, got {self.driven}")
        if not set(self.still) <= set(ACTION_NAMES) - set(self.names):
            raise ValueError(f"action.still must be some of {ACTION_NAMES} beside {self.names}, got {self.still}")
        whole("action", horizon=self.horizon)

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
        single_cell: an LSTM of one layer is driven as a single cell, which is faster; its sums differ in the last bits
            from those of the whole layer, so a policy keeps the way by which it was measured.
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
    single_cell: bool = False

    def __post_init__(self) -> None:
        one_of("head.kind", self.kind, HEADS)
        if not self.codec:
            object.__setattr__(self, "codec", "headings" if self.kind == "discrete" else "continuous")
        one_of("head.codec", self.codec, CODECS)
        if self.kind == "discrete" and self.codec in ("continuous", "laplace"):
            raise ValueError(f"head.codec must be headings or bins for a discrete head, got {self.codec!r}")
        whole("head", hidden=self.hidden, layers=self.layers, window=self.window, bins=self.bins)
        whole("head", attention_heads=self.attention_heads)
        _share("head.dropout", self.dropout)
        if not isinstance(self.single_cell, bool) or (self.single_cell and (self.kind, self.layers) != ("lstm", 1)):
            raise ValueError(f"head.single_cell is for an lstm of one layer, got {self.single_cell!r}")
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
        placed: whether each query of a mobile resampler belongs to a place: the queries form a square grid over the
            image and look at what is near their cell first. Without it nothing of the output says where a thing is.
    """

    kind: str = "mobile"
    queries: int = 64
    width: int = 768
    heads: int = 8
    head_width: int = 64
    depth: int = 6
    ratio: int = 2
    dropout: float = 0.1
    placed: bool = False

    def __post_init__(self) -> None:
        one_of("resampler.kind", self.kind, RESAMPLERS)
        sizes = {key: value for key, value in vars(self).items() if key not in ("kind", "dropout", "placed")}
        whole("resampler", **sizes)
        _share("resampler.dropout", self.dropout)
        if self.kind == "mobile" and self.width % self.heads:
            raise ValueError(f"resampler.heads must divide width {self.width}, got {self.heads}")
        if self.placed and (self.kind != "mobile" or math.isqrt(self.queries) ** 2 != self.queries):
            raise ValueError(
                f"resampler.placed is for a mobile resampler with a square number of queries, got {self.kind!r} with "
                f"{self.queries}"
            )


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
        one_of("fusion.kind", self.kind, FUSIONS)
        whole("fusion", channels=self.channels, readout=self.readout, feature_dim=self.feature_dim)
        _share("fusion.dropout", self.dropout)


@dataclass(frozen=True)
class PromptIds:
    """Token ids that surround an image in Kosmos-2's input; the defaults are those of its own tokenizer.

    Attributes:
        bos: start of the text.
        image, image_end: "<image>" and "</image>".
    """

    bos: int = 0
    image: int = 64003
    image_end: int = 64004


@dataclass(frozen=True)
class RangesSpec:
    """A LiDAR that is read.

    Attributes:
        rays, fov_rad, range_m: of the LiDAR, see `vla_sim.core.sensors.LidarSpec`.
        width: numbers that are read out of it.
    """

    rays: int
    fov_rad: float = 2 * math.pi
    range_m: float = 6.0
    width: int = 64

    def __post_init__(self) -> None:
        whole("sensors", rays=self.rays, width=self.width)
        if not (0 < self.fov_rad <= 7 and 0 < self.range_m <= 1000):
            raise ValueError(f"sensors must have a field of view and a range, got {self.fov_rad} and {self.range_m}")

    @property
    def full_circle(self) -> bool:
        """Whether the last ray is beside the first one."""
        return LidarSpec(fov_rad=self.fov_rad).full_circle

    def misfit(self, sensor: Sensor) -> str:
        """Why what a sensor shows cannot be read, as the end of a sentence; "" if it can."""
        if not isinstance(sensor, LidarSpec):
            return "is no LiDAR"
        wanted, has = (
            f"{lidar.rays} rays over {math.degrees(lidar.fov_rad):g} degrees, {lidar.range_m:g} m far"
            for lidar in (self, sensor)
        )
        return "" if wanted == has else f"has {has}; {wanted} were learned from"

    @classmethod
    def of(cls, lidar: LidarSpec) -> dict[str, Any]:
        """What a config says of a LiDAR."""
        return {"rays": lidar.rays, "fov_deg": math.degrees(lidar.fov_rad), "range_m": lidar.range_m}


@dataclass(frozen=True)
class ConvClipSpec:
    """Sizes of the small convolutional CLIP and its readout.

    Attributes:
        vocab_size: ids of the tokenizer.
        image_px: side of the square image the tower reads.
        channels: of the tower's three blocks: patches of 8 pixels every 4, half of that, the same again.
        fused_channels: of the two blocks that language modulates.
        readout_channels: what is kept of each cell of the grid before it is flattened.
        embed_dim: of CLIP's joint space.
        text_width, text_heads, text_layers: of the text transformer.
        feature_dim: of what the heads read.
    """

    vocab_size: int = 0
    image_px: int = 96
    channels: tuple[int, ...] = (32, 64, 96)
    fused_channels: int = 128
    readout_channels: int = 32
    embed_dim: int = 128
    text_width: int = 128
    text_heads: int = 4
    text_layers: int = 1
    feature_dim: int = 256

    def __post_init__(self) -> None:
        if not self.vocab_size:
            raise ValueError("conv_clip.vocab_size is missing")
        sizes = {key: value for key, value in vars(self).items() if key != "channels"}
        whole("conv_clip", **sizes)
        if not isinstance(self.channels, tuple) or len(self.channels) != 3:
            raise ValueError(f"conv_clip.channels must be three numbers, got {self.channels!r}")
        for size in self.channels:
            whole("conv_clip", channels=size)
        if self.image_px % 16 or self.image_px > 4096:
            raise ValueError(f"conv_clip.image_px must be a multiple of 16 up to 4096, got {self.image_px}")
        if self.text_width % self.text_heads:
            raise ValueError(
                f"conv_clip.text_width {self.text_width} must be a multiple of text_heads {self.text_heads}"
            )

    @property
    def grid(self) -> int:
        """Side of the grid of cells that is flattened."""
        return self.image_px // 16


@dataclass(frozen=True)
class OpenClipSpec:
    """A model of `open_clip_torch`.

    Attributes:
        model: one of its names, e.g. "ViT-B-32".
        sizes: its own config ("embed_dim", "vision_cfg", "text_cfg", ...); None: that of the name.
        mean, std: by which its checkpoint's training normalised the three colours of images in 0..1; OpenAI's, which
            most have, where it says nothing.
    """

    model: str = ""
    sizes: Any = None
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not (self.model or self.sizes):
            raise ValueError(f"open_clip.model must be a name such as 'ViT-B-32', got {self.model!r}")
        if self.sizes is not None and not isinstance(self.sizes, Mapping):
            raise ValueError(f"open_clip.sizes must be an object, got {self.sizes!r}")
        check_sizes("open_clip.sizes", self.sizes or {})
        for name, values in (("mean", self.mean), ("std", self.std)):
            numbers = isinstance(values, tuple) and all(
                isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 10 for value in values
            )
            if not numbers or len(values) != 3:
                raise ValueError(f"open_clip.{name} must be three positive numbers, got {values!r:.80}")


def check_sizes(owner: str, values: Any, depth: int = 0) -> None:
    """Refuse numbers in another library's config that no model has, before that library allocates them.

    Raises:
        ValueError: the message names the key.
    """
    if depth > 16:
        raise ValueError(f"{owner} is nested too deeply")
    if isinstance(values, Mapping):
        for key, value in values.items():
            check_sizes(f"{owner}.{key}", value, depth + 1)
    elif isinstance(values, (list, tuple)):
        if len(values) > MOST_LAYERS:
            raise ValueError(f"{owner} must have at most {MOST_LAYERS} entries, got {len(values)}")
        for value in values:
            check_sizes(owner, value, depth + 1)
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        most = MOST_LAYERS if owner.endswith(("layers", "num_hidden_layers", "depth")) else MOST
        if not abs(values) <= most:
            raise ValueError(f"{owner} must be at most {most}, got {values:.3g}")
