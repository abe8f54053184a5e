"""Instructions as numbers: a small byte-level BPE, so that no text is ever unknown. Learned from training phrasings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError

PAD, END = "<pad>", "<end>"
PAD_ID = 0
MAX_VOCABULARY = 1000
FILE_NAME = "tokenizer.json"


class InstructionTokenizer:
    """Text to token ids of a fixed length: the tokens, then END (always the highest id, where CLIP reads), then PAD.

    Upper and lower case, and composed and decomposed Hangul, give the same tokens. Longer texts are cut.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # Else a text that contains "<end>" would be cut there.
        tokenizer.encode_special_tokens = True

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return self._tokenizer.get_vocab_size()

    @property
    def context_length(self) -> int:
        """Tokens per text, END and PAD included."""
        return self._tokenizer.padding["length"]

    @classmethod
    def trained(cls, texts: Iterable[str], *, vocab_size: int = 800, context_length: int = 48) -> InstructionTokenizer:
        """A tokenizer for texts like these; the same texts in the same order give the same one."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        if not 258 <= vocab_size <= MAX_VOCABULARY:
            raise UserError(f"vocab_size must lie between 258 and {MAX_VOCABULARY}, got {vocab_size}")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip()])
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            special_tokens=[PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls._finished(tokenizer, context_length)

    @classmethod
    def _finished(cls, tokenizer: Any, context_length: int) -> InstructionTokenizer:
        from tokenizers import processors

        tokenizer.add_special_tokens([END])
        end_id = tokenizer.token_to_id(END)
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end_id)])
        tokenizer.enable_truncation(context_length)
        tokenizer.enable_padding(pad_id=PAD_ID, pad_token=PAD, length=context_length)
        return cls(tokenizer)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids, int64 (len(texts), context_length)."""
        rows = [self._tokenizer.encode(text).ids for text in texts]
        return np.array(rows, dtype=np.int64).reshape(len(rows), self.context_length)

    def decode(self, ids: Sequence[int]) -> str:
        """The text again, without END and PAD; lower case."""
        return self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=True).strip()

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`."""
        path.write_text(json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> InstructionTokenizer:
        """Read `tokenizer.json`; it is data only.

        Raises:
            UserError: it is missing or is no tokenizer of ours.
        """
        from tokenizers import Tokenizer

        try:
            loaded = Tokenizer.from_str(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"tokenizer is missing: {path}") from error
        except Exception as error:  # tokenizers raises plain Exception for anything that it cannot parse
            raise UserError(f"tokenizer cannot be read: {error} ({path})") from error
        if loaded.padding is None or loaded.token_to_id(PAD) != PAD_ID or loaded.token_to_id(END) is None:
            raise UserError(f"tokenizer lacks {PAD} (id {PAD_ID}), {END} or its padding ({path})")
        return cls(loaded)
