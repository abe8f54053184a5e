"""What a checkpoint's file says about its network beside the weights, at whatever depth it says so. No torch.

Training codes write it in many places: `config.window_size`, `hyper_parameters.configs.act_head.window_size`, ... Every
place counts, and places that contradict each other, the config or the weights are refused: a guess drives wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIMPLE = (bool, int, float, str)
# Entries of a file that are about the course of the training, not about the network.
COURSE = ("optimizer", "scheduler", "scaler", "lr_scheduler", "callbacks", "loops")
# Tables about a backbone, which has windows, heads and widths of its own.
BACKBONES = ("vision_config", "text_config", "vlm", "vlm_config", "backbone", "kosmos", "kosmos2", "clip", "tokenizer")
# Deeper or longer than any training code nests: such a file is not read to its end.
DEEPEST, MOST = 32, 20_000
# Our name -> what training codes call it: ends of paths, "act_head.hidden_size" only inside that table.
NAMES = {
    "window": ("window_size",),
    "chunk": ("chunk_size", "fwd_pred_next_n"),
    "lstm_layers": ("lstm_layers", "lstm_num_layers", "act_head.num_layers", "action_lstm.num_layers"),
    "hidden": ("lstm_hidden_size", "lstm_hidden_dim", "act_head.hidden_size", "action_lstm.hidden_size"),
    "actions": ("action_dim",),
    "classes": ("num_classes", "num_action_classes"),
    "attention_heads": ("vision_resampler.num_heads", "resampler.num_heads", "resampler_heads"),
    "context_length": ("max_text_len", "max_text_length"),
}
# Of these the tokenizer's own table speaks, too.
OF_TOKENIZERS = ("context_length",)


def simple_values(entries: Mapping[Any, Any]) -> dict[str, Any]:
    """All texts and numbers in nested objects and lists by their path, e.g. {"config.window_size": 8}."""
    return dict(_walk(entries))


def _walk(entries: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    # A pickle may hold the same object in many places or in itself: both depth and number are bounded.
    waiting: list[tuple[str, Any, int]] = [("", entries, 0)]
    seen = 0
    while waiting and seen < MOST:
        path, value, depth = waiting.pop()
        seen += 1
        if isinstance(value, SIMPLE):
            yield path, value
        elif depth < DEEPEST and isinstance(value, (Mapping, list, tuple)):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            inner = [(f"{path}.{key}" if path else str(key), part, depth + 1) for key, part in items]
            waiting += [item for item in inner if depth or not item[0].startswith(COURSE)]


class HyperParameters:
    """What a file says.

    Args:
        values: see `simple_values`.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def places(self, name: str) -> dict[str, int]:
        """Where a whole number of `NAMES` is said, and what it is there; sorted by path."""
        found = {}
        for path, value in sorted(self._values.items()):
            whole = int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
            if whole > 0 and whole == value and _means(path, name):
                found[path] = whole
        return found

    def number(self, name: str) -> int:
        """A whole number that the file says; 0 where it says nothing.

        Raises:
            ValueError: its places contradict each other.
        """
        places = self.places(name)
        if len(set(places.values())) > 1:
            said = ", ".join(f"{path} = {value}" for path, value in places.items())
            raise ValueError(f"the file contradicts itself about {name.replace('_', ' ')}: {said}")
        return next(iter(places.values()), 0)

    def agrees(self, name: str, value: int, what: str) -> None:
        """Check what we know from elsewhere.

        Args:
            name: of `NAMES`.
            value: what it is.
            what: says so, "config.json" for example.

        Raises:
            ValueError: the file says something else.
        """
        said = self.number(name)
        if said and said != value:
            where = ", ".join(self.places(name))
            raise ValueError(f"{name.replace('_', ' ')} is {value} by {what}, but the file says {said} ({where})")

    def normalised_to(self) -> tuple[float, float] | None:
        """The actions that outputs of -1 and 1 stand for, where the file says that it learned normalised ones."""
        found = {}
        for key in ("norm_min", "norm_max"):
            values = {v for path, v in self._values.items() if _ends(path, key) and isinstance(v, (int, float))}
            if len(values) == 1:
                found[key] = float(values.pop())
        off = any(_ends(path, "norm_action") and value is False for path, value in self._values.items())
        return (found["norm_min"], found["norm_max"]) if len(found) == 2 and not off else None


def _means(path: str, name: str) -> bool:
    parts = path.split(".")[:-1]
    theirs = any(part in BACKBONES and not (part == "tokenizer" and name in OF_TOKENIZERS) for part in parts)
    return not theirs and any(_ends(path, end) for end in NAMES[name])


def _ends(path: str, end: str) -> bool:
    return f".{path}".endswith(f".{end}")
