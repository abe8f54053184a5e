"""The network behind `clip_lstm` and `clip_mlp`: a small CLIP, a language-modulated spatial readout, two heads.

The CLIP is `open_clip.model.CLIP` with our own configuration: its text transformer, and a convolutional tower of ours
in place of its image tower (a ViT or CLIP's ResNet of the same speed learns far more slowly on two cores). For driving,
`PlainClip` computes the same from the same weights without importing open_clip, which takes seconds; a test compares
them. Importing this module loads torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# Pixels 0..255 become about -2..2.
PIXEL_MEAN, PIXEL_STD = 127.5, 63.75


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of the network.

    Attributes:
        vocab_size: ids of the tokenizer.
        context_length: tokens per instruction.
        image_px: side of the square picture the tower reads.
        channels: of the tower's three blocks: patches of 8 pixels every 4, half of that, the same again.
        fused_channels: of the two blocks that language modulates.
        readout_channels: what is kept of each cell of the grid before it is flattened.
        embed_dim: of CLIP's joint space.
        text_width, text_heads, text_layers: of the text transformer.
        feature_dim: of what the heads read.
    """

    vocab_size: int
    context_length: int = 48
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
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            sizes = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
                raise ValueError(f"model.{field.name} must be positive whole numbers, got {value!r}")
        if len(self.channels) != 3:
            raise ValueError(f"model.channels must be three numbers, got {list(self.channels)}")
        if self.image_px % 16:
            raise ValueError(f"model.image_px must be a multiple of 16, got {self.image_px}")
        if self.text_width % self.text_heads:
            raise ValueError(f"model.text_width {self.text_width} must be a multiple of text_heads {self.text_heads}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> ClipConfig:
        """From the "model" object of a config.json.

        Raises:
            ValueError: an unknown key or a value that makes no sense.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in table:
            if key not in known:
                raise ValueError(f"unknown key model.{key}; known: {', '.join(known)}")
        if "vocab_size" not in table:
            raise ValueError("model.vocab_size is missing")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        return cls(**values)

    @property
    def grid(self) -> int:
        """Side of the grid of cells that is flattened."""
        return self.image_px // 16


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

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        first, second, third = config.channels
        # Straight to a quarter of the resolution: maps at half of it would cost more than all the rest together.
        self.blocks = nn.Sequential(
            ConvBlock(3, first, kernel=8, stride=4, padding=2),
            ConvBlock(first, second, stride=2),
            ConvBlock(second, third),
        )
        self.proj = nn.Linear(third, config.embed_dim, bias=False)

    def grid(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels: (n, 3, image_px, image_px), normalised. Returns (n, channels[-1], image_px / 8, image_px / 8)."""
        return self.blocks(pixels)

    def pooled(self, grid: torch.Tensor) -> torch.Tensor:
        """Embedding (n, embed_dim) of a map of features."""
        return self.proj(grid.mean(dim=(2, 3)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embedding (n, embed_dim) of normalised pixels."""
        return self.pooled(self.grid(pixels))


def open_clip_model(config: ClipConfig) -> nn.Module:
    """An `open_clip.model.CLIP` of these sizes, freshly initialised, its image tower ours."""
    from vla_sim.policies.torchvision_shim import make_torchvision_importable

    make_torchvision_importable()
    from open_clip.model import CLIP

    # open_clip cannot leave the image tower out: the smallest possible one is built and replaced.
    unused = {"layers": 1, "width": 8, "head_width": 8, "image_size": 8, "patch_size": 8}
    text = {
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "width": config.text_width,
        "heads": config.text_heads,
        "layers": config.text_layers,
    }
    clip = CLIP(config.embed_dim, unused, text)
    clip.visual = ConvTower(config)
    return clip


class PlainClip(nn.Module):
    """What `open_clip_model` computes, from the same weights under the same names, with torch alone."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.text_width
        self.visual = ConvTower(config)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, width))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(
            _TextBlock(width, config.text_heads) for _ in range(config.text_layers)
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        mask = torch.full((config.context_length, config.context_length), float("-inf")).triu(1)
        self.register_buffer("attn_mask", mask, persistent=False)

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


class _TextBlock(nn.Module):
    """One layer of the text transformer, named as open_clip names it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp.c_proj(functional.gelu(self.mlp.c_fc(self.ln_2(x))))  # type: ignore[operator]


class Backbone(nn.Module):
    """CLIP and the readout: from pictures and instructions to features for a head.

    Args:
        config: sizes.
        clip: from `open_clip_model` for training, `PlainClip` for driving.
    """

    def __init__(self, config: ClipConfig, clip: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.clip = clip
        seen, fused = config.channels[-1], config.fused_channels
        self.film = nn.Linear(config.embed_dim, 2 * (seen + 2 * fused))
        self.fuse_down = ConvBlock(seen, fused, stride=2)
        self.fuse_same = ConvBlock(fused, fused)
        self.squeeze = nn.Conv2d(fused, config.readout_channels, 1)
        flat = config.readout_channels * config.grid**2
        # Every cell keeps its place: a readout that pools over the picture does not learn to steer.
        self.readout = nn.Linear(flat + 2 * config.embed_dim, config.feature_dim)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 or float (n, h, w, 3) in 0..255 to what the tower reads, (n, 3, h, w) in channels-last memory."""
        return images.float().sub_(PIXEL_MEAN).mul_(1 / PIXEL_STD).permute(0, 3, 1, 2)

    def language(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Text embeddings (n, embed_dim) and the modulation (n, ...) they ask for."""
        text = self.clip.encode_text(ids)  # type: ignore[operator]
        return text, self.film(text)

    def features(self, pixels: torch.Tensor, text: torch.Tensor, film: torch.Tensor) -> torch.Tensor:
        """Features (n, feature_dim), not negative; see `fused` for the arguments."""
        return self.read(*self.fused(pixels, text, film), text)

    def fused(self, pixels: torch.Tensor, text: torch.Tensor, film: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is seen in the light of what is said: map (n, fused_channels, grid, grid); and the tower's own map.

        Args:
            pixels: normalised (n, 3, h, w).
            text: from `language`, one row for each picture.
            film: likewise.
        """
        seen, deep = self.config.channels[-1], self.config.fused_channels
        first, second, third = film.split([2 * seen, 2 * deep, 2 * deep], dim=1)
        visual = self.clip.visual
        grid = visual.grid(pixels)  # type: ignore[operator, union-attr]
        x = self.fuse_down(functional.relu(modulated(grid, first)), second)
        return x + self.fuse_same(x, third), grid

    def read(self, fused: torch.Tensor, grid: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Features from both maps and the text embedding."""
        x = functional.relu(self.squeeze(fused))
        seen = self.clip.visual.pooled(grid)  # type: ignore[operator, union-attr]
        match = functional.normalize(seen, dim=1) * functional.normalize(text, dim=1)
        return functional.relu(self.readout(torch.cat([x.flatten(1), text, match * 11.3], dim=1)))

    def fold(self) -> Backbone:
        """Fold all batch norms and lay weights out for speed; for evaluation only."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fold()
        return self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class LstmHead(nn.Module):
    """Recurrent over the episode: what has left the picture is remembered."""

    def __init__(self, feature_dim: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, actions)

    def forward(
        self, features: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """From features (n, T, feature_dim) to normalised actions (n, T, actions) and the state after the last step."""
        hidden, state = self.lstm(features, state)
        return self.out(hidden), state

    def step(
        self, features: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """One step of `forward`: features (n, feature_dim), state two (n, hidden), actions (n, actions).

        The same sums without packing the weights anew, which takes longer than the step itself.
        """
        lstm = self.lstm
        weights = (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0)
        hidden, cell = torch._VF.lstm_cell(features, state, *weights)  # type: ignore[attr-defined, arg-type]
        return self.out(hidden), (hidden, cell)


class MlpHead(nn.Module):
    """Sees one picture at a time."""

    def __init__(self, feature_dim: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(feature_dim, hidden)
        self.out = nn.Linear(hidden, actions)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """From features (..., feature_dim) to normalised actions (..., actions)."""
        return self.out(functional.relu(self.hidden(features)))


HEADS: dict[str, type[nn.Module]] = {"lstm": LstmHead, "mlp": MlpHead}


class DrivingModel(nn.Module):
    """Both heads on one backbone, for training.

    Args:
        config: sizes of the backbone.
        actions: components of an action.
        hidden: width of the heads.
    """

    def __init__(self, config: ClipConfig, *, actions: int = 2, hidden: int = 256) -> None:
        super().__init__()
        self.config, self.actions, self.hidden = config, actions, hidden
        self.backbone = Backbone(config, open_clip_model(config))
        self.lstm = LstmHead(config.feature_dim, hidden, actions)
        self.mlp = MlpHead(config.feature_dim, hidden, actions)
        self.where = nn.Conv2d(config.fused_channels, 1, 1)

    def forward(
        self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalised actions of both heads, (F, actions) each, and where the goal is, logits (F, grid * grid).

        F are the steps that exist, episode after episode; the cells of the grid come in rows from the top left. They
        are a lesson only: learned from where the simulator knows the goal to be, never used to drive.

        Args:
            pixels: normalised (F, 3, h, w), only steps that exist.
            ids: int64 (E, context_length).
            mask: bool (E, T), which steps exist; each row is True from its start on without a gap.
        """
        episode = mask.nonzero()[:, 0]
        text, film = self.backbone.language(ids)
        fused, grid = self.backbone.fused(pixels, text[episode], film[episode])
        features = self.backbone.read(fused, grid, text[episode])
        padded = features.new_zeros(*mask.shape, features.shape[1]).masked_scatter(mask[..., None], features)
        recurrent, _ = self.lstm(padded)
        return recurrent[mask], self.mlp(features), self.where(fused).flatten(1)
