"""One recorded episode, whatever file it came from; its images may still lie on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome
from vla_sim.core.values import shown

Plain = str | int | float | bool


class LazyImages(NDArrayOperatorsMixin):
    """Images that are read when they are asked for; indexes, slices and computes like the array that it stands for.

    Nothing is kept: whoever needs the images twice loads them (`Episode.loaded`).

    Attributes:
        shape: (T, height, width, 3).
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, shape: tuple[int, int, int, int], read: Callable[[slice], np.ndarray]) -> None:
        """Stand for an array of this shape.

        Args:
            shape: (T, height, width, 3), as the file declares it.
            read: gives the images of a slice with a positive step, uint8 (n, height, width, 3), or raises UserError.
        """
        self.shape, self._read = shape, read

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        images = self._read(slice(0, len(self), 1))
        return images if dtype is None else images.astype(dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, (int, np.integer)):
            index = range(len(self))[key]
            return cast(np.ndarray, self._read(slice(index, index + 1, 1))[0])
        if isinstance(key, slice) and (key.step or 1) > 0:
            start, stop, step = key.indices(len(self))
            return self._read(slice(start, max(start, stop), step))
        return cast(np.ndarray, np.asarray(self)[key])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(i) if i is self else i for i in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


def lazy_images(shape: tuple[int, int, int, int], read: Callable[[slice], np.ndarray]) -> np.ndarray:
    """`LazyImages`, which whoever takes images may treat as the array."""
    return cast(np.ndarray, LazyImages(shape, read))


@dataclass(frozen=True, eq=False)
class Episode:
    """What a robot saw, was told and did, with where that came from.

    Images have one more entry than actions when the last one (after the last action) was kept, as the simulator
    does; recordings of a real robot often lack it, and then there are as many images as actions.

    Attributes:
        name: names the episode in its data set; file names and messages use it.
        images: uint8 (T or T+1, height, width, 3), RGB; image t was seen before action t. Of an opened data set they
            are `LazyImages`, which read the file when they are indexed.
        actions: float32 (T, A); components "vx", "vy", "wz" are body twists in m/s and rad/s, frames as in
            docs/conventions.md; others (joints of an arm) are as the data set has them.
        action_names: names of the A components.
        instruction: the sentence that the robot followed; "" when the recording has none.
        step_s: seconds between two actions.
        labels: float32 (T, A) or None: what an expert would have done at each image, where that differs from what
            was done (noise was added, or a learner drove).
        states: float32 (as many as images, S) or None.
        state_names: names of the S components.
        events: one word per action, or None: "episode_start", "start_action", "stop_action".
        outcome: how it ended; None when nobody judged.
        provenance: plain facts: scenario, seed, side, distance, phrasing, source file, versions.
        phrasings: sentences that say the same as the instruction; () when only the instruction is known.
        sensors: what further sensors showed, by name, each (as many as images, ...): uint8 images of another camera, or
            float32 depths and ranges in metres.
        goals: float32 (T, 2) or None: where the goal is in each image, (right, down) as shares of its sides, NaN where
            it is outside.
        sentences: the sentence that each action answers, T of them and the instruction first, where another one was
            said on the way; () where the instruction holds throughout.
    """

    name: str
    images: np.ndarray
    actions: np.ndarray
    action_names: tuple[str, ...]
    instruction: str
    step_s: float
    labels: np.ndarray | None = None
    states: np.ndarray | None = None
    state_names: tuple[str, ...] = ()
    events: tuple[str, ...] | None = None
    outcome: Outcome | None = None
    provenance: Mapping[str, Plain] = field(default_factory=dict)
    phrasings: tuple[str, ...] = ()
    goals: np.ndarray | None = None
    sensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))
        object.__setattr__(self, "sensors", MappingProxyType(dict(self.sensors)))
        self._check_texts()
        self._check_images()
        self._check_actions("actions", self.actions)
        if self.labels is not None:
            self._check_actions("labels", self.labels)
        self._check_states()
        self._check_sensors()
        if self.events is not None and len(self.events) != len(self):
            self._refuse(f"{len(self)} actions but {len(self.events)} events")
        if not (math.isfinite(self.step_s) and self.step_s > 0):
            self._refuse(f"step_s must be positive, got {self.step_s}")

    def __len__(self) -> int:
        """The number of actions, T."""
        return len(self.actions)

    @property
    def has_last_image(self) -> bool:
        """Whether the image after the last action was kept."""
        return len(self.images) == len(self) + 1

    def refuse_sentences(self, who: str) -> None:
        """Refuse an episode with several sentences for somebody who knows one.

        Raises:
            UserError: it has several.
        """
        if len(set(self.sentences)) > 1:
            step = next(i for i, text in enumerate(self.sentences) if text != self.instruction)
            raise UserError(
                f"episode {self.name}: its instruction changes at step {step}, from {shown(self.instruction)} to "
                f"{shown(self.sentences[step])}; {who}"
            )

    def loaded(self) -> Episode:
        """The same with its images in memory.

        Raises:
            UserError: they cannot be read.
        """
        if all(isinstance(values, np.ndarray) for values in (self.images, *self.sensors.values())):
            return self
        sensors = {name: np.asarray(values) for name, values in self.sensors.items()}
        return replace(self, images=np.asarray(self.images), sensors=sensors)

    def _check_texts(self) -> None:
        if not self.name or any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in self.name):
            self._refuse("its name must not be empty or hold control characters")
        if self.sentences and (len(self.sentences) != len(self) or self.sentences[0] != self.instruction):
            self._refuse(
                f"{len(self)} actions need as many sentences, its instruction first; got {len(self.sentences)}"
            )
        for text in (self.instruction, *self.phrasings, *self.sentences):
            if any(letter == "\0" or 0xD800 <= ord(letter) < 0xE000 for letter in text):
                self._refuse("its instruction holds characters that are none (NUL or half of a surrogate pair)")

    def _check_images(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3:
            self._refuse(f"images must be uint8 (T, height, width, 3), got {self.images.dtype} {shape}")
        if len(self.actions) == 0:
            self._refuse("it has no actions")
        if shape[0] not in (len(self.actions), len(self.actions) + 1):
            self._refuse(f"{len(self.actions)} actions need as many images or one more, got {shape[0]}")

    def _check_actions(self, what: str, values: np.ndarray) -> None:
        if not self.action_names or len(set(self.action_names)) < len(self.action_names):
            self._refuse(f"action_names must differ and be at least one, got {self.action_names}")
        expected = (len(self.actions), len(self.action_names))
        if values.dtype != np.float32 or values.shape != expected:
            self._refuse(f"{what} must be float32 {expected}, got {values.dtype} {values.shape}")
        if not np.isfinite(values).all():
            self._refuse(f"{what} must be finite; step {int(np.argwhere(~np.isfinite(values))[0, 0])} is not")

    def _check_states(self) -> None:
        if self.goals is not None and (self.goals.dtype != np.float32 or self.goals.shape != (len(self), 2)):
            self._refuse(f"goals must be float32 {(len(self), 2)}, got {self.goals.dtype} {self.goals.shape}")
        if self.states is None:
            return
        expected = (len(self.images), len(self.state_names))
        if self.states.dtype != np.float32 or self.states.shape != expected:
            self._refuse(f"states must be float32 {expected}, got {self.states.dtype} {self.states.shape}")
        if not np.isfinite(self.states).all():
            self._refuse(f"states must be finite; step {int(np.argwhere(~np.isfinite(self.states))[0, 0])} is not")

    def _check_sensors(self) -> None:
        for name, values in self.sensors.items():
            if values.dtype not in (np.uint8, np.float32) or len(values.shape) < 2:
                self._refuse(f"sensor {name} must be uint8 or float32 (T, ...), got {values.dtype} {values.shape}")
            if len(values) != len(self.images):
                self._refuse(f"{len(self.images)} images need as many values of sensor {name}, got {len(values)}")
            if values.dtype == np.float32 and not np.isfinite(values).all():
                self._refuse(f"sensor {name} must be finite")

    def _refuse(self, why: str) -> None:
        raise ValueError(f"episode {ascii(self.name)[1:-1] if not self.name.isprintable() else self.name}: {why}")
