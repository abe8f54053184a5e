"""The space of instructions, and how a sentence crosses from process to process.

Gymnasium's `AsyncVectorEnv` keeps observations in shared memory. Of its own `Text` space it reads that memory once,
before the first reset, so that every sentence is "000...". This space hands out a view that reads it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

# UTF-8 needs at most so many for a character.
BYTES = 4


class InstructionSpace(spaces.Text):
    """A `Text` whose sentences survive shared memory."""

    @property
    def num_bytes(self) -> int:
        """Shared memory of one sentence."""
        return BYTES * self.max_length


class SharedTexts(Sequence[str]):
    """The sentences of all envs as shared memory holds them now; a deep copy is a tuple of texts."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        return self._data[index].tobytes().rstrip(b"\0").decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


@create_shared_memory.register(InstructionSpace)
def _create(space: InstructionSpace, n: int = 1, ctx: Any = None) -> Any:
    return ctx.Array(np.dtype(np.uint8).char, n * space.num_bytes)


@read_from_shared_memory.register(InstructionSpace)
def _read(space: InstructionSpace, shared_memory: Any, n: int = 1) -> SharedTexts:
    data: np.ndarray = np.frombuffer(shared_memory.get_obj(), dtype=np.uint8)
    return SharedTexts(data.reshape(n, space.num_bytes))


@write_to_shared_memory.register(InstructionSpace)
def _write(space: InstructionSpace, index: int, value: str, shared_memory: Any) -> None:
    data = value.encode()
    if len(data) > space.num_bytes:
        raise ValueError(f"an instruction of {len(value)} characters does not fit into {space.max_length}")
    size = space.num_bytes
    row: np.ndarray = np.frombuffer(shared_memory.get_obj(), dtype=np.uint8)[index * size : (index + 1) * size]
    row[:] = np.frombuffer(data.ljust(size, b"\0"), dtype=np.uint8)
