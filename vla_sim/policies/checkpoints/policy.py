"""Drives with a checkpoint: the policy type "checkpoint". Importing this module loads torch and transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_sim.core.errors import UserError
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.checkpoints.files import source_folder
from vla_sim.policies.checkpoints.loading import Loaded, load_checkpoint
from vla_sim.policies.checkpoints.models import Seen, State
from vla_sim.policies.checkpoints.spec import IMAGES, OutputSpec
from vla_sim.policies.folders import TOKENIZER, PolicyFolder
from vla_sim.policies.images import shrink
from vla_sim.policies.models.text_batch import TextBatch
from vla_sim.policies.models.texts import TextCache, Tokenizer, load_tokenizer


class CheckpointPolicy(Policy):
    """A checkpoint's network, its tokenizers, and what its outputs mean.

    Args:
        loaded: the network.
        tokenizers: by backbone; none where texts are not read.
        description: one line.
    """

    def __init__(self, loaded: Loaded, tokenizers: Mapping[str, Tokenizer], description: str) -> None:
        self.loaded, self.report = loaded, loaded.report
        self.spec = PolicySpec(loaded.spec.action.driven_names, tuple(loaded.spec.image_px), description=description)
        self._tokenizers = tokenizers
        self._texts = TextCache(self._encoded)
        self._state: State = ()
        self._steps = np.zeros(0, dtype=np.int64)

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> CheckpointPolicy:
        """Config: see `CheckpointSpec`. Nothing in the checkpoint is executed.

        Raises:
            PolicyError: config, checkpoint, backbones or tokenizers cannot be used.
        """
        loaded = load_checkpoint(folder)
        tokenizers = {}
        if loaded.layout.reads_language:
            tokenizers = {name: _tokenizer(folder, name, loaded) for name in loaded.layout.backbones}
        return cls(loaded, tokenizers, folder.description)

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forget the marked envs."""
        fresh = self.loaded.network.initial_state(len(reset_mask))
        if len(self._steps) != len(reset_mask):
            self._steps, self._state = np.zeros(len(reset_mask), dtype=np.int64), fresh
            return
        marked = np.asarray(reset_mask, dtype=bool)
        self._steps[marked] = 0
        rows = torch.from_numpy(marked)
        # where and not a product: whatever an env held before, even a NaN, is gone.
        self._state = tuple(
            torch.where(rows.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(fresh, self._state, strict=True)
        )

    @torch.inference_mode()
    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A)."""
        images = np.asarray(observation["image"])
        if len(images) != len(self._steps):
            raise ValueError(f"reset was called for {len(self._steps)} envs, act for {len(images)}")
        seen = Seen(self._pixels(images), self._language(observation["instruction"]))
        outputs, self._state = self.loaded.network(seen, self._state)
        twists = driven(outputs, self.loaded.spec.action)
        if self.loaded.spec.first_step_zero:
            twists[self._steps == 0] = 0
        self._steps += 1
        return twists

    def _pixels(self, images: np.ndarray) -> dict[str, torch.Tensor]:
        spec = self.loaded.spec
        ordered = images if spec.channels == "rgb" else images[..., ::-1]
        return {
            name: prepared(ordered, int(self.loaded.configs[name].vision_config.image_size), kind)
            for name, kind in (spec.pictures or {}).items()
        }

    def _language(self, texts: Sequence[str]) -> TextBatch:
        if not self._tokenizers:
            return {}
        return self._texts.rows(texts)

    def _encoded(self, text: str) -> TextBatch:
        said = self.loaded.spec.prompt.replace("{instruction}", text.strip())
        tokens: TextBatch = {}
        for name, tokenizer in self._tokenizers.items():
            ids, mask = tokenizer.read([said])
            self._check_length(name, said, mask)
            tokens[f"{name}.ids"], tokens[f"{name}.mask"] = ids, mask
        return self.loaded.network.encode_text(tokens)

    def _check_length(self, name: str, said: str, mask: torch.Tensor) -> None:
        """Refuse to cut a text in silence where more would fit: its end often says which side."""
        places = mask.shape[1]
        most = int(self.loaded.configs[name].text_config.max_position_embeddings)
        if bool(mask.all()) and not (name == "clip" and places >= most):
            raise UserError(
                f"the text {said!r} fills all {places} places and may have lost its end: raise context_length in "
                f"config.json (the most is {most})"
            )


def prepared(images: np.ndarray, side_px: int, kind: str) -> torch.Tensor:
    """Images as a network saw them in training.

    Args:
        images: uint8 (n, H, W, 3).
        side_px: side of the result; other aspects are squeezed to it.
        kind: one of `IMAGES`.

    Returns:
        float32 (n, 3, side_px, side_px).
    """
    factor, mean, std = IMAGES[kind]
    planes = torch.from_numpy(np.ascontiguousarray(shrink(images, side_px))).permute(0, 3, 1, 2).float()
    middle, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (planes * factor - middle) / spread


def driven(outputs: torch.Tensor, action: OutputSpec) -> np.ndarray:
    """Body twists, float32 (n, A): one of the chunk, limited, scaled, in the robot's order.

    Args:
        outputs: (n, chunk, width): numbers, or scores of classes.
        action: what they mean.
    """
    chosen = outputs[:, action.chunk_index].float()
    if action.classes:
        chosen = torch.tensor(action.classes, dtype=torch.float32)[chosen.argmax(dim=-1)]
    limit = torch.tensor(action.limit)
    twists = chosen.clamp(-limit, limit) * torch.tensor(action.scale)
    return twists[:, [action.outputs.index(name) for name in action.driven_names]].numpy()


def _tokenizer(folder: PolicyFolder, name: str, loaded: Loaded) -> Tokenizer:
    spec, text = loaded.spec, loaded.configs[name].text_config
    source = (spec.backbones or {})[name]
    local = source_folder(folder, source)
    path = local / TOKENIZER if local else _cached(folder, source, download=spec.download)
    length = min(spec.context_length, text.max_position_embeddings) if name == "clip" else spec.context_length
    # RoboVLMs puts the image behind the text's own start token; the hybrids' processor puts it there itself.
    tokenizer = load_tokenizer(
        path,
        context_length=length,
        pad_id=text.pad_token_id or 0,
        special_tokens=name == "clip" or loaded.layout.name == "robovlms",
    )
    if tokenizer.vocab_size > text.vocab_size:
        raise folder.error(
            f"{path} has {tokenizer.vocab_size} ids, {name}'s text_config.vocab_size is {text.vocab_size}"
        )
    return tokenizer


def _cached(folder: PolicyFolder, source: str, *, download: bool) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, TOKENIZER, local_files_only=not download))
    except Exception as error:  # the hub's client raises many kinds, none of them more than "it is not there"
        raise folder.error(
            f"{TOKENIZER} of {source!r} is not there: name a local folder, or allow the download"
        ) from error
