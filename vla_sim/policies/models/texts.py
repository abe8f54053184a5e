"""From instructions to the token ids of each backbone. Loads torch; tokenizers when one is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from vla_sim.core.errors import UserError
from vla_sim.policies.models.text_batch import TextBatch, stacked
from vla_sim.policies.tokenizer import PAD, InstructionTokenizer


def kosmos2_prompt(instruction: str) -> str:
    """What Kosmos-2 reads behind the image. Train a tokenizer for a small one on these, not on bare instructions."""
    return f"<grounding>An image of a robot {instruction.strip()}"


class Tokenizer(Protocol):
    """Texts to ids of a fixed length."""

    def read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids int64 (n, L), and bool (n, L), which of them are no padding."""

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""


# Instructions whose encoding is kept: more than an evaluation has at a time, little memory.
KEPT_TEXTS = 4096


class TextCache:
    """Encodes each text by itself, once, so that its row never depends on the others.

    Args:
        encode: one text to its row.
    """

    def __init__(self, encode: Callable[[str], TextBatch]) -> None:
        self._encode = encode
        self._texts: dict[str, TextBatch] = {}
        self._last: tuple[tuple[str, ...], TextBatch] | None = None

    def rows(self, texts: Sequence[str]) -> TextBatch:
        """One row for each text."""
        wanted = tuple(texts)
        if self._last is None or self._last[0] != wanted:
            self._last = (wanted, stacked([self._row(text) for text in wanted]))
        return self._last[1]

    def _row(self, text: str) -> TextBatch:
        if text not in self._texts:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            self._texts[text] = self._encode(text)
        return self._texts[text]


class HubTokenizer:
    """A `tokenizer.json` as on a model hub, Kosmos-2's or CLIP's, padded and cut to a fixed length.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        context_length: tokens per text.
        pad_id: of the model; padding is never read, but must be an id.
        special_tokens: whether its own template (start and end) goes around the text: for CLIP, not for Kosmos-2,
            whose start the backbone puts before the image.
    """

    def __init__(self, tokenizer: Any, *, context_length: int, pad_id: int, special_tokens: bool) -> None:
        tokenizer.enable_truncation(context_length)
        tokenizer.enable_padding(pad_id=pad_id, length=context_length)
        self._tokenizer, self._special_tokens = tokenizer, special_tokens

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return int(self._tokenizer.get_vocab_size())

    def read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Tokenizer.read`."""
        codes = [self._tokenizer.encode(text, add_special_tokens=self._special_tokens) for text in texts]
        ids = torch.tensor([code.ids for code in codes], dtype=torch.int64)
        return ids, torch.tensor([code.attention_mask for code in codes], dtype=torch.bool)


class SmallTokenizer:
    """Our own `InstructionTokenizer`."""

    def __init__(self, tokenizer: InstructionTokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return self._tokenizer.vocab_size

    def read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Tokenizer.read`."""
        ids = torch.from_numpy(self._tokenizer.encode(texts))
        return ids, ids != 0


class TextReader:
    """Token ids of a text for each backbone of a model.

    Args:
        tokenizers: by backbone, "kosmos2" and "clip".
    """

    def __init__(self, tokenizers: dict[str, Tokenizer]) -> None:
        self.tokenizers = tokenizers

    def read(self, texts: Sequence[str]) -> TextBatch:
        """Rows with "<backbone>.ids" and "<backbone>.mask", one for each text."""
        rows: TextBatch = {}
        for name, tokenizer in self.tokenizers.items():
            said = [kosmos2_prompt(text) for text in texts] if name == "kosmos2" else texts
            rows[f"{name}.ids"], rows[f"{name}.mask"] = tokenizer.read(said)
        return rows

    def only(self, name: str) -> TextReader:
        """A reader for that backbone alone."""
        return TextReader({name: self.tokenizers[name]})

    @classmethod
    def small(cls, tokenizer: InstructionTokenizer, backbones: Sequence[str]) -> TextReader:
        """The same small tokenizer for all backbones."""
        return cls({name: SmallTokenizer(tokenizer) for name in backbones})


def load_tokenizer(path: Path, *, context_length: int, pad_id: int, special_tokens: bool) -> Tokenizer:
    """Our own tokenizer or one from a hub, by what the file says; it is data only.

    Raises:
        UserError: missing, unreadable, or ours with another context length than the model's.
    """
    from tokenizers import Tokenizer as HubFile

    try:
        text = path.read_text("utf-8")
        added = {token.get("content") for token in json.loads(text).get("added_tokens", [])}
        if PAD not in added or "<end>" not in added:
            loaded = HubFile.from_str(text)
            return HubTokenizer(loaded, context_length=context_length, pad_id=pad_id, special_tokens=special_tokens)
    except FileNotFoundError as error:
        raise UserError(f"tokenizer is missing: {path}") from error
    except Exception as error:  # tokenizers raises plain Exception for anything that it cannot parse
        raise UserError(f"tokenizer cannot be read: {error} ({path})") from error
    ours = InstructionTokenizer.load(path)
    if ours.context_length != context_length:
        raise UserError(f"tokenizer has {ours.context_length} places, the model {context_length} ({path})")
    return SmallTokenizer(ours)
