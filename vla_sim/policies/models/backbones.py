"""What all backbones share, and transformers' own Kosmos-2 and CLIP, read out token by token. Loads torch.

CLIP is transformers' `CLIPModel` and not open_clip's: the weights of `openai/clip-vit-base-patch32` load into it under
their own names, it gives patch tokens without a hook, and the config of both backbones is one kind of object, saved in
one `config.json`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.stem import ConvStem, prepared, stem_patch_px
from vla_sim.policies.models.text_batch import TextBatch


@dataclass(frozen=True)
class Features:
    """What one backbone reads out of an image and a text; n rows.

    Attributes:
        patches: (n, P, V), the patches' tokens in rows from the top left, behind the last norm.
        image: (n, V'), the image as one token (the class token).
        tokens: (n, L, D), the text's tokens behind the last norm.
        mask: bool (n, L), which of them exist.
        text: (n, D'), the text as one: CLIP's end token; Kosmos-2's mean over tokens and its last token, side by side
            (in the mean alone one word counts for a twentieth, and a small model is slow to tell left from right).
    """

    patches: torch.Tensor
    image: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True)
class Widths:
    """Sizes of `Features`: name of the backbone, V, D', P and V'."""

    name: str
    vision: int
    text: int
    patches: int
    image: int


class Backbone(nn.Module, ABC):
    """Images and instructions to `Features`, one for each model inside.

    Attributes:
        widths: of each model inside.
        image_px: side of the square images that it reads.
        trained_along: whether it is trained together with the heads on it; else it stays as it is.
    """

    widths: tuple[Widths, ...]
    image_px: int
    trained_along = False

    def ready(self) -> None:
        """Get ready to drive: what only training needs is given up, so it cannot be saved any more."""
        self.eval()

    @property
    def parts(self) -> tuple[Backbone, ...]:
        """The single backbones inside, in the order of `widths`."""
        return (self,)

    @abstractmethod
    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """All that can be computed of instructions before an image is seen.

        Args:
            tokens: "<backbone>.ids" int64 (n, L) and "<backbone>.mask" bool (n, L).
        """

    @abstractmethod
    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """Features of n pairs of image and text.

        Args:
            images: uint8 or float (n, H, W, 3) in 0..255.
            language: n rows from `encode_text`.
        """


class Kosmos2Backbone(Backbone):
    """Kosmos-2: patches from its vision tower, text tokens from its decoder, which has attended to the image.

    Its input is `<s> <image> [latent queries] </image> prompt`, as from Kosmos2Processor. The decoder sees
    the image first, so nothing of a text can be computed beforehand but its ids.
    """

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        from vla_sim.policies.models.hub import Kosmos2Model

        self.kosmos2 = Kosmos2Model(config.kosmos2)
        vision, text = config.kosmos2.vision_config, config.kosmos2.text_config
        _put_stem(self.kosmos2.vision_model.model.embeddings, config)
        self.image_px = int(vision.image_size)
        self.widths = (Widths("kosmos2", vision.hidden_size, 2 * text.embed_dim, _patches(vision), vision.hidden_size),)
        ids, queries = config.ids_around_pictures, config.kosmos2.latent_query_num
        # The ids at the latent queries' places are replaced by the image; any but the padding's will do.
        self._prefix = [ids.bos, ids.image, *[ids.image] * queries, ids.image_end]
        self._queries = slice(2, 2 + queries)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """The ids as they are."""
        return {name: tokens[name] for name in ("kosmos2.ids", "kosmos2.mask")}

    def inputs(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Arguments of `Kosmos2Model.forward`, the image aside, for prompts int64 (n, L) and their mask."""
        prefix = ids.new_tensor(self._prefix).expand(len(ids), -1)
        here = torch.zeros(len(ids), prefix.shape[1] + ids.shape[1], dtype=torch.bool, device=ids.device)
        here[:, self._queries] = True
        attended = torch.cat([torch.ones_like(prefix, dtype=torch.bool), mask], dim=1)
        return {
            "input_ids": torch.cat([prefix, ids], dim=1),
            "attention_mask": attended.long(),
            "image_embeds_position_mask": here,
        }

    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """See `Backbone.forward`."""
        ids, mask = language["kosmos2.ids"], language["kosmos2.mask"]
        seen = self.kosmos2.get_image_features(prepared(images, self.image_px, self.kosmos2.dtype))
        patches = self.kosmos2.vision_model.model.post_layernorm(seen.last_hidden_state)
        read = self.kosmos2.text_model(image_embeds=seen.pooler_output, use_cache=False, **self.inputs(ids, mask))
        tokens = read.last_hidden_state[:, -ids.shape[1] :]
        return (Features(patches[:, 1:], patches[:, 0], tokens, mask, _mean_and_last(tokens, mask)),)


class ClipBackbone(Backbone):
    """CLIP: patches from its image tower, text from its text tower; neither sees the other."""

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        from vla_sim.policies.models.hub import CLIPModel

        self.clip = CLIPModel(config.clip)
        vision, text = config.clip.vision_config, config.clip.text_config
        _put_stem(self.clip.vision_model.embeddings, config)
        self.image_px = int(vision.image_size)
        self.widths = (Widths("clip", vision.hidden_size, text.hidden_size, _patches(vision), vision.hidden_size),)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """The text tower's tokens and its end token."""
        # Padding follows the end token and attention is causal: no mask is needed.
        read = self.clip.text_model(input_ids=tokens["clip.ids"])
        return {
            "clip.tokens": read.last_hidden_state,
            "clip.mask": tokens["clip.mask"],
            "clip.text": read.pooler_output,
        }

    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """See `Backbone.forward`."""
        seen = self.clip.vision_model(pixel_values=prepared(images, self.image_px, self.clip.dtype))
        patches = self.clip.vision_model.post_layernorm(seen.last_hidden_state[:, 1:])
        text = language["clip.tokens"], language["clip.mask"], language["clip.text"]
        return (Features(patches, seen.pooler_output, *text),)


class BothBackbones(Backbone):
    """Kosmos-2 and CLIP side by side."""

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        self.first, self.second = Kosmos2Backbone(config), ClipBackbone(config)
        self.image_px = max(self.first.image_px, self.second.image_px)
        self.widths = (*self.first.widths, *self.second.widths)

    @property
    def parts(self) -> tuple[Backbone, ...]:
        """Kosmos-2, CLIP."""
        return self.first, self.second

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """Rows of both."""
        return {**self.first.encode_text(tokens), **self.second.encode_text(tokens)}

    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """Features of Kosmos-2, then of CLIP."""
        return (*self.first(images, language), *self.second(images, language))


def _put_stem(embeddings: Any, config: VlaConfig) -> None:
    """A `ConvStem` in place of the patch embedding, where the config asks for one."""
    if not config.stem_channels:
        return
    patch = stem_patch_px(config.stem_channels)
    if embeddings.patch_size != patch or embeddings.image_size % patch:
        raise ValueError(
            f"stem_channels {list(config.stem_channels)} make patches of {patch} pixels; patch_size is "
            f"{embeddings.patch_size}, image_size {embeddings.image_size}"
        )
    embeddings.patch_embedding = ConvStem(config.stem_channels, embeddings.embed_dim)


def _patches(vision: Any) -> int:
    return int((vision.image_size // vision.patch_size) ** 2)


def _mean_and_last(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that exist, and the last of them, (n, 2 D)."""
    weight = mask[..., None].to(tokens.dtype)
    mean = (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    last = tokens[torch.arange(len(tokens), device=tokens.device), mask.sum(dim=1) - 1]
    return torch.cat([mean, last], dim=1)
