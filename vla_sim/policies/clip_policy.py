"""Drives with a trained `Backbone` and head: the policy type "clip". Importing this module loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.clip import HEADS, Backbone, ClipConfig, LstmHead, PlainClip
from vla_sim.policies.folders import TOKENIZER, PolicyFolder
from vla_sim.policies.images import shrink
from vla_sim.policies.tokenizer import InstructionTokenizer

# Instructions whose encoding is kept: more than an evaluation has at a time, little memory.
KEPT_TEXTS = 4096
BACKBONE_KEYS = ("model", "training")
HEAD_KEYS = ("head", "hidden", "backbone", "backbone_sha256", "action", "image_px", "training")


class Encoder:
    """Pictures and instructions to features; shared by all heads that name the same backbone.

    Args:
        backbone: trained; it is folded for speed.
        tokenizer: the one it was trained with.
        key: hash of the folder it comes from: encoders with the same key give the same features.
    """

    def __init__(self, backbone: Backbone, tokenizer: InstructionTokenizer, key: str) -> None:
        self.key = key
        self._backbone = backbone.fold()
        self._tokenizer = tokenizer
        self._texts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._last: tuple[tuple[str, ...], torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> Encoder:
        """Config: model (see `ClipConfig`)."""
        folder.know(BACKBONE_KEYS)
        try:
            config = ClipConfig.from_table(folder.get("model", dict))
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error
        tokenizer = InstructionTokenizer.load(folder.path / TOKENIZER)
        if (tokenizer.vocab_size, tokenizer.context_length) != (config.vocab_size, config.context_length):
            raise folder.error(
                f"tokenizer.json has {tokenizer.vocab_size} ids and {tokenizer.context_length} places, "
                f"the model {config.vocab_size} and {config.context_length}"
            )
        backbone = Backbone(config, PlainClip(config))
        folder.load_into(backbone)
        return cls(backbone, tokenizer, folder.own_hash())

    @property
    def feature_dim(self) -> int:
        """Size of a lane's features."""
        return self._backbone.config.feature_dim

    @torch.inference_mode()
    def features(self, observation: Mapping[str, Any]) -> torch.Tensor:
        """Features (N, feature_dim) of an observation."""
        text, film = self._language(tuple(observation["instruction"]))
        small = torch.from_numpy(shrink(observation["image"], self._backbone.config.image_px))
        return self._backbone.features(self._backbone.normalised(small), text, film)

    def _language(self, texts: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows for these texts; each text is encoded by itself, once, so its row never depends on the others."""
        if self._last is None or self._last[0] != texts:
            rows = [self._encoded(text) for text in texts]
            self._last = (texts, torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows]))
        return self._last[1:]

    def _encoded(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        if text not in self._texts:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            self._texts[text] = self._backbone.language(torch.from_numpy(self._tokenizer.encode([text])))
        return self._texts[text]


class ClipPolicy(Policy):
    """One head on an encoder.

    Args:
        encoder: gives the features.
        head: LSTM (remembers its episode) or MLP (sees one picture).
        spec: see `PolicySpec`.
        scale: an action of 1 in m/s or rad/s; actions are limited to it.
    """

    def __init__(self, encoder: Encoder, head: torch.nn.Module, spec: PolicySpec, scale: float) -> None:
        self.encoders = (encoder,)
        self.spec = spec
        self._head = head.eval()
        self._scale = scale
        self._lanes = 0
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> ClipPolicy:
        """Config: head, hidden, backbone, backbone_sha256, action (names, units, scale), image_px."""
        folder.know(HEAD_KEYS)
        encoder = Encoder.from_folder(_checked_backbone(folder))
        kind = folder.get("head", str)
        if kind not in HEADS:
            raise folder.error(f"head must be one of {', '.join(HEADS)}, got {kind!r}")
        names, scale = _action(folder)
        head = HEADS[kind](encoder.feature_dim, folder.get("hidden", int), len(names))
        folder.load_into(head)
        try:
            spec = PolicySpec(names, tuple(folder.get("image_px", list, [224, 224])), description=folder.description)
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error
        return cls(encoder, head, spec, scale)

    def reset(self, lanes: np.ndarray, seeds: np.ndarray) -> None:
        """Forget the marked lanes."""
        if self._lanes != len(lanes):
            self._lanes = len(lanes)
            if isinstance(self._head, LstmHead):
                zeros = torch.zeros(self._lanes, self._head.lstm.hidden_size)
                self._state = (zeros, zeros.clone())
        elif self._state is not None:
            kept = torch.from_numpy(~np.asarray(lanes, dtype=bool))[:, None]
            # where and not a product: whatever a lane held before, even a NaN, is gone.
            self._state = tuple(torch.where(kept, part, 0.0) for part in self._state)  # type: ignore[assignment]

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A)."""
        return self.decide([encoder.features(observation) for encoder in self.encoders])

    @torch.inference_mode()
    def decide(self, seen: Sequence[torch.Tensor]) -> np.ndarray:
        """Body twists from what this policy's encoder sees, (N, feature_dim); moves the memory one step on."""
        (features,) = seen
        if len(features) != self._lanes:
            raise ValueError(f"reset was called for {self._lanes} lanes, act for {len(features)}")
        if self._state is not None:
            actions, self._state = self._head.step(features, self._state)  # type: ignore[operator]
        else:
            actions = self._head(features)
        return (actions.clamp(-1, 1) * self._scale).numpy()


def _checked_backbone(folder: PolicyFolder) -> PolicyFolder:
    """The backbone's folder, refused unless it is the very one that the head was trained on."""
    backbone = folder.sibling(folder.get("backbone", str))
    if backbone.kind != "clip_backbone":
        raise folder.error(f"backbone {backbone.name!r} must be of type clip_backbone, got {backbone.kind!r}")
    wanted, found = folder.get("backbone_sha256", str), backbone.own_hash()
    if wanted != found:
        raise folder.error(
            f"this head was trained on another {backbone.name}: backbone_sha256 is {wanted[:12]}..., "
            f"{backbone.path} has {found[:12]}..."
        )
    return backbone


def _action(folder: PolicyFolder) -> tuple[tuple[str, ...], float]:
    action = folder.get("action", dict)
    names, scale = action.get("names"), action.get("scale")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise folder.error(f"action.names must be a list of texts, got {names!r}")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < 100:
        raise folder.error(f"action.scale must be a positive number, got {scale!r}")
    return tuple(names), float(scale)
