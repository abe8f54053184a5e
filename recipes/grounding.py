"""Pre-training of small backbones on single images: what the words point at, and which way that is.

Kosmos-2 learns by grounding and captioning, CLIP by grounding and contrast, as the large ones did; both learn the
expert's way from a single image, too, without which a frozen backbone keeps nothing of obstacles.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.training.batches import Batch, Sampler
from vla_sim.training.config import TrainConfig
from vla_sim.training.losses import recoloured, trimmed, where_loss
from vla_sim.training.trainer import Learner

if TYPE_CHECKING:
    import torch

    from vla_sim.policies.models.backbones import Features
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.models.text_batch import TextBatch
    from vla_sim.policies.models.texts import TextReader

# Share of captions and contrast in what is minimised; the way weighs 1.
WORDS_WEIGHT = 0.1


class GroundingTrainer(Learner):
    """Teaches a `VlaModel` with one backbone; see the module's docstring.

    Args:
        model: one backbone, small; its head sees single images.
        reader: its tokenizer.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
    """

    model: VlaModel
    source: Sampler

    def __init__(self, model: VlaModel, reader: TextReader, config: TrainConfig, out_dir: Path) -> None:
        super().__init__(model, Sampler(config), config, out_dir)
        self.reader = reader

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The expert's way, the goal's cell, words."""
        return ("way", "where", "words")

    def total(self, losses: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The way, and the two lessons with their weights."""
        way, where, words = losses
        return way + self.config.where_weight * where + WORDS_WEIGHT * words

    def losses(self, model: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Of the expert's action, of the goal's cell, of words: captions for Kosmos-2, contrast for CLIP."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        tokens = trimmed(self.reader.read(batch.texts))
        mask = torch.from_numpy(batch.mask)
        target = torch.zeros(*batch.mask.shape, 1, batch.actions.shape[1])
        target[mask] = torch.from_numpy(batch.actions)[:, None]
        # Plain attention: for texts this short, the fused kernel takes three times as long on the way back.
        with self.autocast(), sdpa_kernel(SDPBackend.MATH):
            output = model(recoloured(batch), tokens, mask)
            words = self._words(model, output.read[0], tokens, batch)
        way = model.head.loss(output.outputs.float(), target, mask[..., None])
        return way, where_loss(output.where.float(), batch.goals), words

    def _words(self, model: Any, read: Features, tokens: TextBatch, batch: Batch) -> torch.Tensor:
        import torch

        if hasattr(model.backbone, "kosmos2"):
            ids = tokens["kosmos2.ids"][torch.from_numpy(batch.said)]
            return caption_loss(
                read.tokens, model.backbone.kosmos2.text_model.model.embed_tokens.weight, ids, read.mask
            )
        first = np.concatenate([[0], batch.mask.sum(axis=1).cumsum()[:-1]])
        said = tuple(batch.texts[number] for number in batch.said[first])
        return contrast_loss(model.backbone.clip, read.image[first], read.text[first], said)


def caption_loss(tokens: torch.Tensor, embedding: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each next token of the prompt, which the decoder reads behind the image.

    Args:
        tokens: the decoder's output (n, L, D).
        embedding: of the vocabulary, (V, D), tied to the output as in Kosmos-2.
        ids: of the prompt, int64 (n, L).
        mask: bool (n, L), which of them exist.
    """
    from torch.nn.functional import cross_entropy

    asked = mask[:, 1:]
    logits = (tokens[:, :-1][asked] @ embedding.t()).float()
    return cross_entropy(logits, ids[:, 1:][asked])


def contrast_loss(clip: Any, image: torch.Tensor, text: torch.Tensor, texts: tuple[str, ...]) -> torch.Tensor:
    """CLIP's loss between images and sentences; equal sentences are all right answers.

    Args:
        clip: transformers' CLIPModel.
        image: (n, V), before CLIP's projection.
        text: (n, D), likewise.
        texts: n sentences.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    seen = normalize(clip.visual_projection(image).float(), dim=-1)
    said = normalize(clip.text_projection(text).float(), dim=-1)
    logits = seen @ said.t() * clip.logit_scale.float().exp().clamp(max=100)
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    which = torch.tensor([number[text] for text in texts])
    same = (which[:, None] == which[None]).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (cross_entropy(logits, target) + cross_entropy(logits.t(), target)) / 2
