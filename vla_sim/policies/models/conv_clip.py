"""The small backbone of our own: a convolutional CLIP whose image is read in the light of what is said (FiLM).

A ViT or CLIP's ResNet of the same speed learns far more slowly on two cores. Text goes through CLIP's own transformer,
under the names that `open_clip.model.CLIP` has, with torch alone: a test compares the two. Loads torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vla_sim.policies.models.backbones import Backbone, Features, Widths
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.specs import ConvClipSpec
from vla_sim.policies.models.stem import shrunken
from vla_sim.policies.models.text_batch import TextBatch

# Pixels 0..255 become about -2..2.
PIXEL_MEAN, PIXEL_STD = 127.5, 63.75
# CLIP's first temperature, as a logarithm.
LOGIT_SCALE = 2.6593


class ConvBlock(nn.Module):
    """Convolution, batch norm, optional modulation, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.conv: Any = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm: Any = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor, film: torch.Tensor | None = None) -> torch.Tensor:
        """x: (n, inputs, h, w); film: (n, 2 * outputs), scale and shift of each channel."""
        x = self.norm(self.conv(x))
        return functional.relu(x if film is None else modulated(x, film), inplace=True)

    def fold(self) -> None:
        """Move the batch norm into the convolution; for evaluation only."""
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


def modulated(x: torch.Tensor, film: torch.Tensor) -> torch.Tensor:
    """FiLM: each channel scaled and shifted by language. x: (n, c, h, w); film: (n, 2 c)."""
    scale, shift = film[:, :, None, None].chunk(2, dim=1)
    return torch.addcmul(x + shift, x, scale)


class ConvTower(nn.Module):
    """Image tower: `grid` gives the map of features, calling it the embedding that CLIP compares with texts."""

    def __init__(self, spec: ConvClipSpec) -> None:
        super().__init__()
        first, second, third = spec.channels
        # Straight to a quarter of the resolution: maps at half of it would cost more than all the rest together.
        self.blocks = nn.Sequential(
            ConvBlock(3, first, kernel=8, stride=4, padding=2),
            ConvBlock(first, second, stride=2),
            ConvBlock(second, third),
        )
        self.proj = nn.Linear(third, spec.embed_dim, bias=False)

    def grid(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels: (n, 3, image_px, image_px), normalised. Returns (n, channels[-1], image_px / 8, image_px / 8)."""
        return self.blocks(pixels)

    def pooled(self, grid: torch.Tensor) -> torch.Tensor:
        """Embedding (n, embed_dim) of a map of features."""
        return self.proj(grid.mean(dim=(2, 3)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embedding (n, embed_dim) of normalised pixels."""
        return self.pooled(self.grid(pixels))


class SmallClip(nn.Module):
    """CLIP with a `ConvTower`; its text transformer is open_clip's, weight by weight."""

    def __init__(self, spec: ConvClipSpec, context_length: int) -> None:
        super().__init__()
        width = spec.text_width
        self.visual = ConvTower(spec)
        self.token_embedding = nn.Embedding(spec.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context_length, width))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(TextBlock(width, spec.text_heads) for _ in range(spec.text_layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, spec.embed_dim))
        self.logit_scale = nn.Parameter(torch.full((), LOGIT_SCALE))
        mask = torch.full((context_length, context_length), float("-inf")).triu(1)
        self.register_buffer("attn_mask", mask, persistent=False)
        self._begin_as_clip(width, spec.text_layers)

    @torch.no_grad()
    def _begin_as_clip(self, width: int, layers: int) -> None:
        """First weights as in CLIP's own training (arXiv 2103.00020): small, and smaller the deeper it is."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)  # type: ignore[union-attr, arg-type]
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)  # type: ignore[union-attr, arg-type]
            for last in (block.attn.out_proj, block.mlp.c_proj):  # type: ignore[union-attr]
                nn.init.normal_(last.weight, std=(2 * layers * width) ** -0.5)  # type: ignore[union-attr, arg-type]

    def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
        """ids: int64 (n, context_length). Returns (n, embed_dim), read at the end token (the highest id)."""
        end = ids.argmax(dim=-1)
        # No token attends to later ones: what comes after the last end is not needed.
        length = int(end.max()) + 1
        x = self.token_embedding(ids[:, :length]) + self.positional_embedding[:length]
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            x = block(x, self.attn_mask[:length, :length])  # type: ignore[index]
        x = self.ln_final(x)
        return x[torch.arange(len(ids)), end] @ self.text_projection


class TextBlock(nn.Module):
    """One layer of the text transformer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x: (n, L, width), also what is returned; mask: float (L, L)."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp.c_proj(functional.gelu(self.mlp.c_fc(self.ln_2(x))))  # type: ignore[operator]


class ConvClipBackbone(Backbone):
    """`SmallClip` and a readout that keeps every cell of the grid in its place.

    A readout that pools over the image does not learn to steer. Its features are finished: the fusion passes
    `Features.image` on, and reads from `Features.patches` only in which cell the goal is.
    """

    trained_along = True

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        spec: ConvClipSpec = config.conv_clip
        self.spec, self.image_px = spec, spec.image_px
        self.clip = SmallClip(spec, config.context_length)
        seen, fused = spec.channels[-1], spec.fused_channels
        self.film = nn.Linear(spec.embed_dim, 2 * (seen + 2 * fused))
        self.fuse_down = ConvBlock(seen, fused, stride=2)
        self.fuse_same = ConvBlock(fused, fused)
        self.squeeze = nn.Conv2d(fused, spec.readout_channels, 1)
        flat = spec.readout_channels * spec.grid**2
        self.readout = nn.Linear(flat + 2 * spec.embed_dim, spec.feature_dim)
        self.widths = (Widths("conv_clip", fused, spec.embed_dim, spec.grid**2, spec.feature_dim),)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """Text embeddings (n, embed_dim) and the modulation that they ask for."""
        text = self.clip.encode_text(tokens["conv_clip.ids"])
        return {"conv_clip.text": text, "conv_clip.film": self.film(text)}

    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """See `Backbone.forward`."""
        text = language["conv_clip.text"]
        fused, grid = self._fused(self.normalised(images), language["conv_clip.film"])
        features = self._read(fused, grid, text)
        nothing = text.new_zeros(len(text), 0, 1)
        return (Features(fused.flatten(2).transpose(1, 2), features, nothing, nothing[..., 0].bool(), text),)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """What the tower reads, (n, 3, image_px, image_px) in channels-last memory; see `Backbone.forward`."""
        planes = shrunken(images, self.image_px).float()
        return planes.sub(PIXEL_MEAN).mul_(1 / PIXEL_STD).contiguous(memory_format=torch.channels_last)

    def _fused(self, pixels: torch.Tensor, film: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is seen in the light of what is said, (n, fused_channels, grid, grid); and the tower's own map."""
        seen, deep = self.spec.channels[-1], self.spec.fused_channels
        first, second, third = film.split([2 * seen, 2 * deep, 2 * deep], dim=1)
        grid = self.clip.visual.grid(pixels)
        x = self.fuse_down(functional.relu(modulated(grid, first)), second)
        return x + self.fuse_same(x, third), grid

    def _read(self, fused: torch.Tensor, grid: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Features (n, feature_dim), not negative."""
        x = functional.relu(self.squeeze(fused))
        seen = self.clip.visual.pooled(grid)
        match = functional.normalize(seen, dim=1) * functional.normalize(text, dim=1)
        return functional.relu(self.readout(torch.cat([x.flatten(1), text, match * 11.3], dim=1)))

    def ready(self) -> None:
        """Fold all batch norms and lay weights out for speed."""
        super().ready()
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fold()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
