"""Images into the backbones: preparation of pixels, and convolutions in place of a patch embedding. Loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

# Of OpenAI's CLIP; Kosmos-2's image processor uses the same.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def prepared(images: torch.Tensor, side_px: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What both backbones read: shrunken with a triangle filter as by `images.shrink`, then normalised.

    At 224 pixels nothing is resized, and the result is that of the models' own image processors.

    Args:
        images: uint8 or float (n, H, W, 3) in 0..255, on any device.
        side_px: side of the square result; other aspects are squeezed to it.
        dtype: of the result.

    Returns:
        (n, 3, side_px, side_px).
    """
    planes = shrunken(images, side_px)
    mean, std = (planes.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (PIXEL_MEAN, PIXEL_STD))
    return ((planes.float() / 255 - mean) / std).to(dtype)


def shrunken(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """Images (n, H, W, 3) as planes (n, 3, side_px, side_px), shrunken with a triangle filter where they must be."""
    planes = images.permute(0, 3, 1, 2)
    if planes.shape[2:] == (side_px, side_px):
        return planes
    # Only on the CPU torch can shrink uint8.
    planes = planes if planes.device.type == "cpu" else planes.float()
    return functional.interpolate(planes, size=(side_px, side_px), mode="bilinear", antialias=True)


class ConvStem(nn.Module):
    """Convolutions that give what a patch embedding gives; small backbones learn with it, and hardly without.

    The first halves the resolution twice, each further one once; a last 1x1 gives the width. Each is followed by a
    group norm, which treats every image by itself.

    Args:
        channels: of the convolutions; with m of them a patch is 2 ** (m + 1) pixels wide.
        width: of the tokens.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((3, *channels), channels, strict=False)):
            kernel, stride, padding = (8, 4, 2) if number == 0 else (3, 2, 1)
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.GroupNorm(1, outputs)]
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(channels[-1], width, 1, bias=False)

    @property
    def weight(self) -> torch.Tensor:
        """The last weight: transformers asks it for the type, and initialises it."""
        return self.out.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels: (n, 3, h, w). Returns (n, width, h / patch, w / patch)."""
        return self.out(self.layers(pixels))


def stem_patch_px(channels: Sequence[int]) -> int:
    """Side of a patch of a `ConvStem` in pixels."""
    return int(2 ** (len(channels) + 1))
