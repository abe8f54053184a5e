"""One backbone as an encoder: each text is encoded once, each picture once for all heads that share it. Loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vla_sim.policies.models.backbones import Backbone, Features
from vla_sim.policies.models.text_batch import Rows, stacked
from vla_sim.policies.models.texts import TextReader

# Instructions whose encoding is kept: more than an evaluation has at a time, little memory.
KEPT_TEXTS = 4096


class VlaEncoder:
    """Pictures and instructions to `Features`.

    Args:
        backbone: a single one, on the device where it is to run.
        reader: its tokenizer.
        key: encoders with the same key give the same features.
    """

    def __init__(self, backbone: Backbone, reader: TextReader, key: str) -> None:
        self.backbone, self.reader, self.key = backbone, reader, key
        self._texts: dict[str, Rows] = {}
        self._last: tuple[tuple[str, ...], Rows] | None = None

    @torch.inference_mode()
    def features(self, observation: Mapping[str, Any]) -> Features:
        """Features, N rows, of an observation's `image` uint8 (N, H, W, 3) and `instruction` (N texts)."""
        device = next(self.backbone.parameters()).device
        images = torch.from_numpy(np.require(observation["image"], requirements=["C", "W"])).to(device)
        return self.backbone(images, self._language(tuple(observation["instruction"]), device))[0]

    def _language(self, texts: tuple[str, ...], device: torch.device) -> Rows:
        """Rows for these texts; each text is encoded by itself, once, so its row never depends on the others."""
        if self._last is None or self._last[0] != texts:
            self._last = (texts, stacked([self._encoded(text, device) for text in texts]))
        return self._last[1]

    def _encoded(self, text: str, device: torch.device) -> Rows:
        if text not in self._texts:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            tokens = {name: part.to(device) for name, part in self.reader.read([text]).items()}
            self._texts[text] = self.backbone.encode_text(tokens)
        return self._texts[text]
