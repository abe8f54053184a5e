"""`VlaConfig`: everything that decides what a model is, in the one `config.json` of its folder.

Loads transformers where the backbone is Kosmos-2 or its CLIP, and nothing heavy else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_sim.policies.folders import FORMAT
from vla_sim.policies.models import specs

TYPE, MODEL_TYPE = "vla", "vla_sim"
# Keys that transformers wrote into earlier folders and that decide nothing here.
HUB_KEYS = ("model_type", "architectures", "transformers_version", "torch_dtype")
# Written even where they equal the defaults: they say at a glance what a folder holds.
ALWAYS_WRITTEN = ("description", "backbone", "context_length", "image_px")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class VlaConfig:
    """What a model is made of.

    Attributes:
        backbone: see `specs.BACKBONES`.
        description: one line.
        kosmos2: transformers' config of Kosmos-2; None where the backbone has none, its full size where it has one.
        clip: transformers' config of CLIP; likewise, ViT-B/32.
        conv_clip: see `specs.ConvClipSpec`.
        open_clip: see `specs.OpenClipSpec`.
        backbone_folders: policy folder of each backbone whose weights are kept there and shared, by the names of
            `specs.SINGLE`; None: all weights are in this folder.
        backbone_sha256: hash of each of those folders, see `PolicyFolder.own_hash`.
        stem_channels: of convolutions in place of the patch embedding of transformers' models, each halving the
            resolution, the first to a quarter; empty: the plain patch embedding of the pretrained models.
        prompt_ids: see `specs.PromptIds`.
        context_length: tokens of an instruction; longer ones are cut.
        normalisation: of CLIP's features: empty, bottleneck or l2.
        resampler: see `specs.ResamplerSpec`; None: no resampler.
        fusion: see `specs.FusionSpec`; left out for conv_clip, which fuses by itself.
        sensors: LiDARs that the head reads beside the image, by name, see `specs.RangesSpec`; None: none.
        head, action: see `specs.HeadSpec`, `specs.ActionSpec`.
        image_px: (width, height) of the images that the policy asks for.
        training: facts about the training, for people.
        tokenizer_clip_sha256: of `tokenizer_clip.json`, so that the hash of the config covers that file; empty: CLIP
            shares `tokenizer.json`.
        dtype: of the weights.

    Raises:
        ValueError: a value that makes no sense; the message names its key.
    """

    backbone: str = "clip"
    description: str = ""
    kosmos2: Any = None
    clip: Any = None
    conv_clip: Any = None
    open_clip: Any = None
    backbone_folders: Any = None
    backbone_sha256: Any = None
    stem_channels: Any = ()
    prompt_ids: Any = None
    context_length: int = 48
    normalisation: str = ""
    resampler: Any = None
    fusion: Any = None
    sensors: Any = None
    head: Any = None
    action: Any = None
    image_px: Any = (224, 224)
    training: Any = None
    tokenizer_clip_sha256: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        specs.one_of("backbone", self.backbone, specs.BACKBONES)
        for part in specs.SINGLE:
            given = getattr(self, part)
            if part in self.parts:
                object.__setattr__(self, part, _sizes(part, given))
            elif given is not None:
                raise ValueError(f"{part} must be left out where the backbone is {self.backbone!r}")
        self._check_plain()
        self._check_text()
        self._check_folders()
        self._check_behind()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the single backbones."""
        return ("kosmos2", "clip") if self.backbone == "both" else (self.backbone,)

    def _check_plain(self) -> None:
        for name in ("stem_channels", "image_px"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)) or len(value) > 16:
                raise ValueError(f"{name} must be a short list of whole numbers, got {value!r:.80}")
            object.__setattr__(self, name, tuple(value))
            for size in value:
                if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 16_384:
                    raise ValueError(f"{name} must be positive whole numbers, got {list(value)!r}")
        if len(self.image_px) != 2:
            raise ValueError(f"image_px must be [width, height], got {list(self.image_px)}")
        for name in ("description", "normalisation", "tokenizer_clip_sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be text, got {getattr(self, name)!r:.80}")
        specs.one_of("dtype", self.dtype, DTYPES)
        if not isinstance(self.training, (Mapping, type(None))):
            raise ValueError(f"training must be an object, got {self.training!r:.80}")

    def _check_behind(self) -> None:
        if self.normalisation not in ("", *specs.NORMALISATIONS):
            raise ValueError(
                f"normalisation must be empty or one of {', '.join(specs.NORMALISATIONS)}, got {self.normalisation!r}"
            )
        if self.normalisation and self.clip is None:
            raise ValueError(f"normalisation {self.normalisation!r} is for CLIP, the backbone is {self.backbone!r}")
        if self.conv_clip is not None and (self.fusion is not None or self.resampler is not None):
            raise ValueError("fusion and resampler must be left out where the backbone is 'conv_clip': it fuses itself")
        head, action = self.head_spec, self.action_spec
        if head.codec == "headings" and action.names != ("vx", "vy"):
            raise ValueError(f"head.codec 'headings' is for vx and vy; take 'bins' for {list(action.names)}")
        _ = self.fusion_spec, self.resampler_spec, self.sensor_specs

    def _check_folders(self) -> None:
        for key in ("backbone_folders", "backbone_sha256"):
            named = getattr(self, key)
            if (named is None) != (self.backbone_folders is None):
                raise ValueError("backbone_folders and backbone_sha256 go together")
            if named is not None and not (isinstance(named, Mapping) and set(named) == set(self.parts)):
                raise ValueError(f"{key} must name a text for each of {sorted(self.parts)}, got {named!r:.80}")
            if named is not None and not all(isinstance(value, str) for value in named.values()):
                raise ValueError(f"{key} must hold texts, got {named!r:.80}")

    def _check_text(self) -> None:
        """Token ids and lengths beyond a backbone's tables would fail only while driving."""
        specs.whole("", context_length=self.context_length)
        ids = vars(self.ids_around_pictures)
        if self.kosmos2 is not None:
            size = self.kosmos2.text_config.vocab_size
            for name, number in ids.items():
                if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < size:
                    raise ValueError(f"prompt_ids.{name} must lie between 0 and {size - 1}, got {number!r:.80}")
        if self.clip is not None and self.context_length > self.clip.text_config.max_position_embeddings:
            places = self.clip.text_config.max_position_embeddings
            raise ValueError(f"context_length must be at most {places} with this CLIP, got {self.context_length}")
        if self.context_length > 4096:
            raise ValueError(f"context_length must be at most 4096, got {self.context_length}")

    @property
    def action_spec(self) -> specs.ActionSpec:
        """The config's "action"; half a metre a second for each component where it says nothing."""
        return specs.table(specs.ActionSpec, self.action, "action")

    @property
    def head_spec(self) -> specs.HeadSpec:
        """The config's "head"."""
        return specs.table(specs.HeadSpec, self.head, "head")

    @property
    def fusion_spec(self) -> specs.FusionSpec:
        """The config's "fusion"."""
        return specs.table(specs.FusionSpec, self.fusion, "fusion")

    @property
    def resampler_spec(self) -> specs.ResamplerSpec | None:
        """The config's "resampler", None where it has none."""
        return None if self.resampler is None else specs.table(specs.ResamplerSpec, self.resampler, "resampler")

    @property
    def sensor_specs(self) -> dict[str, specs.RangesSpec]:
        """The config's "sensors" by name."""
        given = {} if self.sensors is None else self.sensors
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ValueError(f"sensors must be an object, got {given!r:.80}")
        return {name: specs.table(specs.RangesSpec, values, f"sensors.{name}") for name, values in given.items()}

    @property
    def ids_around_pictures(self) -> specs.PromptIds:
        """The config's "prompt_ids"."""
        return specs.table(specs.PromptIds, self.prompt_ids, "prompt_ids")

    @property
    def feature_dim(self) -> int:
        """Width of the features that the head reads."""
        return int(self.conv_clip.feature_dim if self.conv_clip is not None else self.fusion_spec.feature_dim)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Ids of the texts of each backbone; 0 where only the backbone knows."""
        known = {"kosmos2": self.kosmos2, "clip": self.clip}
        found = {name: int(known[name].text_config.vocab_size) for name in self.parts if name in known}
        return {**dict.fromkeys(self.parts, 0), **found, **self._small_vocabulary()}

    def _small_vocabulary(self) -> dict[str, int]:
        return {} if self.conv_clip is None else {"conv_clip": self.conv_clip.vocab_size}

    def to_json(self) -> dict[str, Any]:
        """What a folder's `config.json` holds: all that differs from the defaults, and what names the folder."""
        written: dict[str, Any] = {"format": FORMAT, "type": TYPE, "model_type": MODEL_TYPE}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ALWAYS_WRITTEN or value != field.default:
                written[field.name] = _plain(value)
        return written


def _sizes(part: str, given: Any) -> Any:
    """The sizes of a single backbone from what a config holds.

    Raises:
        ValueError: they make no sense.
    """
    if part == "conv_clip":
        return given if isinstance(given, specs.ConvClipSpec) else specs.table(specs.ConvClipSpec, given, part)
    if part == "open_clip":
        return given if isinstance(given, specs.OpenClipSpec) else specs.table(specs.OpenClipSpec, given, part)
    from vla_sim.policies.models.hub import CLIPConfig, Kosmos2Config

    kind: Any = {"kosmos2": Kosmos2Config, "clip": CLIPConfig}[part]
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"{part} must be an object, got {given!r:.80}")
    specs.check_sizes(part, given)
    try:
        return kind.from_dict(dict(given))
    except Exception as error:  # that library's checks raise many kinds, all of them about a value in the table
        message = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
        raise ValueError(f"{part}: {message[:300]}") from error


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(part) for key, part in vars(value).items()}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
