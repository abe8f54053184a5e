"""`VlaConfig`: everything that decides what a model is, in the one `config.json` of its folder."""

from __future__ import annotations

from typing import Any, ClassVar

from vla_sim.policies.folders import FORMAT
from vla_sim.policies.models import specs
from vla_sim.policies.models.hub import CLIPConfig, Kosmos2Config, PreTrainedConfig, SubConfigSpec

# Written even where they equal the defaults: a policy folder is recognised and read by them.
ALWAYS_WRITTEN = ("format", "type", "description", "backbone", "context_length", "image_px")


class VlaConfig(PreTrainedConfig):
    """A transformers config that is the config of a policy folder, too.

    Attributes:
        format, type, description: see `vla_sim.policies.folders`.
        backbone: kosmos2, clip or both.
        kosmos2: sizes of Kosmos-2; None where the backbone has none, its full size where it has one.
        clip: sizes of CLIP; likewise, ViT-B/32.
        backbone_folders: policy folder of each backbone whose weights are kept there, frozen and shared, by "kosmos2"
            and "clip"; None: all weights are in this folder.
        backbone_sha256: hash of each of those folders, see `PolicyFolder.own_hash`.
        stem_channels: of convolutions in place of the patch embedding, each halving the resolution, the first to a
            quarter; empty: the plain patch embedding of the pretrained models.
        prompt_ids: see `PromptIds`.
        context_length: tokens of an instruction; longer ones are cut.
        normalisation: of CLIP's features: empty, bottleneck or l2.
        resampler: see `ResamplerSpec`; None: no resampler.
        fusion, head, action: see `FusionSpec`, `HeadSpec`, `ActionSpec`.
        image_px: [width, height] of the pictures that the policy asks for.
        training: facts about the training, for people.
        tokenizer_clip_sha256: of `tokenizer_clip.json`, so that the hash of the config covers that file; empty: CLIP
            shares `tokenizer.json`.

    Raises:
        ValueError: a value that makes no sense; the message names its key.
    """

    model_type: ClassVar[str] = "vla_sim"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "kosmos2": SubConfigSpec(Kosmos2Config, optional=True),
        "clip": SubConfigSpec(CLIPConfig, optional=True),
    }

    format: int = FORMAT
    type: str = "vla"
    description: str = ""
    backbone: str = "clip"
    kosmos2: Any = None
    clip: Any = None
    backbone_folders: Any = None
    backbone_sha256: Any = None
    stem_channels: Any = ()
    prompt_ids: Any = None
    context_length: int = 48
    normalisation: str = ""
    resampler: Any = None
    fusion: Any = None
    head: Any = None
    action: Any = None
    image_px: Any = (224, 224)
    training: Any = None
    tokenizer_clip_sha256: str = ""

    def __post_init__(self, **kwargs: Any) -> None:
        if self.backbone not in specs.BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(specs.BACKBONES)}, got {self.backbone!r}")
        for part, wanted, config in (
            ("kosmos2", self.backbone in ("kosmos2", "both"), Kosmos2Config),
            ("clip", self.backbone in ("clip", "both"), CLIPConfig),
        ):
            if wanted and getattr(self, part) is None:
                setattr(self, part, config())
            if not wanted and getattr(self, part) is not None:
                raise ValueError(f"{part} must be left out where the backbone is {self.backbone!r}")
        super().__post_init__(**kwargs)
        self._check()

    def _check(self) -> None:
        if self.normalisation not in ("", *specs.NORMALISATIONS):
            raise ValueError(
                f"normalisation must be empty or one of {', '.join(specs.NORMALISATIONS)}, got {self.normalisation!r}"
            )
        if self.normalisation and self.clip is None:
            raise ValueError(f"normalisation {self.normalisation!r} is for CLIP, the backbone is {self.backbone!r}")
        if not all(isinstance(size, int) and size > 0 for size in self.stem_channels):
            raise ValueError(f"stem_channels must be positive whole numbers, got {self.stem_channels!r}")
        if isinstance(self.context_length, bool) or not isinstance(self.context_length, int) or self.context_length < 1:
            raise ValueError(f"context_length must be a positive whole number, got {self.context_length!r}")
        self._check_text()
        self._check_folders()
        head, action = self.head_spec, self.action_spec
        if head.codec == "headings" and action.names != ("vx", "vy"):
            raise ValueError(f"head.codec 'headings' is for vx and vy; take 'bins' for {list(action.names)}")
        _ = self.fusion_spec, self.resampler_spec

    def _check_folders(self) -> None:
        wanted = {part for part in ("kosmos2", "clip") if getattr(self, part) is not None}
        for key in ("backbone_folders", "backbone_sha256"):
            named = getattr(self, key)
            if (named is None) != (self.backbone_folders is None):
                raise ValueError("backbone_folders and backbone_sha256 go together")
            if named is not None and not (isinstance(named, dict) and set(named) == wanted):
                raise ValueError(f"{key} must name a text for each of {sorted(wanted)}, got {named!r}")
            if named is not None and not all(isinstance(value, str) for value in named.values()):
                raise ValueError(f"{key} must hold texts, got {named!r}")

    def _check_text(self) -> None:
        """Token ids and lengths beyond a backbone's tables would fail only while driving."""
        ids = vars(self.ids_around_pictures)
        if self.kosmos2 is not None:
            size = self.kosmos2.text_config.vocab_size
            for name, number in ids.items():
                if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < size:
                    raise ValueError(f"prompt_ids.{name} must lie between 0 and {size - 1}, got {number!r}")
        places = self.context_length if self.clip is None else self.clip.text_config.max_position_embeddings
        if self.context_length > places:
            raise ValueError(f"context_length must be at most {places} with this CLIP, got {self.context_length}")

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
    def ids_around_pictures(self) -> specs.PromptIds:
        """The config's "prompt_ids"."""
        return specs.table(specs.PromptIds, self.prompt_ids, "prompt_ids")

    def to_diff_dict(self) -> dict[str, Any]:
        """What is written: all that differs from the defaults, and what makes it a policy folder's config."""
        return {**super().to_diff_dict(), **{key: getattr(self, key) for key in ALWAYS_WRITTEN}}
