"""One backbone as an encoder: each text is encoded once, each image once for all heads that share it. Loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vla_sim.policies.models.backbones import Backbone, Features
from vla_sim.policies.models.text_batch import TextBatch
from vla_sim.policies.models.texts import TextCache, TextReader


class VlaEncoder:
    """Images and instructions to `Features`.

    Args:
        backbone: a single one, on the device where it is to run.
        reader: its tokenizer.
        key: encoders with the same key give the same features.
    """

    def __init__(self, backbone: Backbone, reader: TextReader, key: str) -> None:
        self.backbone, self.reader, self.key = backbone, reader, key
        self._texts = TextCache(self._encoded)

    @torch.inference_mode()
    def features(self, observation: Mapping[str, Any]) -> Features:
        """Features, N rows, of an observation's `image` uint8 (N, H, W, 3) and `instruction` (N texts)."""
        images = torch.from_numpy(np.require(observation["image"], requirements=["C", "W"])).to(self._device)
        return self.backbone(images, self._texts.rows(observation["instruction"]))[0]

    @property
    def _device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def _encoded(self, text: str) -> TextBatch:
        tokens = {name: part.to(self._device) for name, part in self.reader.read([text]).items()}
        return self.backbone.encode_text(tokens)
