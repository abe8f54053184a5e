"""Checks of what is handed to an env, shared by the single, the vector and the Stable-Baselines3 env.

What Gymnasium's own vector envs refuse is refused here too, in one sentence and before anything has moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.seeds import checked_seed
from vla_sim.core.types import Scene

# Each env of a vector has a physics world and a part of the image: more do not fit into one frame.
MAX_ENVS = 1024


class EnvError(UserError, ValueError):
    """An env that is used in a way that it does not offer."""


class NotStartedError(EnvError, gymnasium.error.ResetNeeded):
    """A step of an env that was never reset, or whose episode is over."""


class ClosedError(EnvError, gymnasium.error.ClosedEnvironmentError):
    """A use of an env that was closed."""


def check_open(closed: bool, what: str) -> None:
    """Refuse the use of a closed env."""
    if closed:
        raise ClosedError(f"{what}() after close(): make a new env")


def checked_options(options: Any, known: Sequence[str]) -> Mapping[str, Any]:
    """The options of a reset; none for None."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise EnvError(f"options must be a dict or None, got {shown(options)}")
    for key in options:
        if key not in known:
            near = suggest(str(key), known) if known else "there are none"
            raise EnvError(f"options holds {shown(key)}, which is no option of reset(); {near}")
    return options


def checked_count(num_envs: Any) -> int:
    """A number of envs side by side."""
    if isinstance(num_envs, bool) or not isinstance(num_envs, (int, np.integer)):
        raise EnvError(f"num_envs must be a whole number, got {shown(num_envs)}")
    if not 1 <= num_envs <= MAX_ENVS:
        raise EnvError(f"num_envs must be at least 1 and at most {MAX_ENVS}, got {num_envs}")
    return int(num_envs)


def checked_scene(scene: Any, option: str) -> Scene | None:
    """A scene that was handed over; None stands for none."""
    if scene is not None and not isinstance(scene, Scene):
        raise EnvError(f"{option} must be a vla_sim.core.types.Scene, got {type(scene).__name__}")
    return scene


def checked_scenes(scenes: Any, mask: np.ndarray) -> list[Scene | None]:
    """One scene or None for each env; none for an env that the mask leaves out."""
    if scenes is None:
        return [None] * len(mask)
    if isinstance(scenes, (str, Mapping)) or not isinstance(scenes, Iterable):
        raise EnvError(f"options['scenes'] must be a list of one scene or None for each env, got {shown(scenes)}")
    found = [checked_scene(scene, f"options['scenes'][{index}]") for index, scene in enumerate(scenes)]
    if len(found) != len(mask):
        raise EnvError(f"options['scenes'] must hold one scene or None for each of {len(mask)} envs, got {len(found)}")
    lost = [index for index, scene in enumerate(found) if scene is not None and not mask[index]]
    if lost:
        raise EnvError(f"options['scenes'] holds a scene for {_envs(lost)}, which options['reset_mask'] leaves out")
    return found


def checked_mask(mask: Any, num_envs: int) -> np.ndarray:
    """Which envs to reset, bool (num_envs,); all for None."""
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        seen = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else shown(mask)
        raise EnvError(f"options['reset_mask'] must be a bool array of shape ({num_envs},), got {seen}")
    if not mask.any():
        raise EnvError("options['reset_mask'] must choose at least one env, got none")
    return mask.copy()


def checked_seeds(seed: Any, num_envs: int) -> list[int | None]:
    """A seed for each env: as given, or from one number on; None for a drawn one."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, float, np.number, bool, np.bool_)):
        first = checked_seed(seed)
        checked_seed(first + num_envs - 1, "the seed of the last env")
        return [first + index for index in range(num_envs)]
    if isinstance(seed, (str, bytes, Mapping)) or not isinstance(seed, Iterable):
        raise EnvError(f"seed must be a whole number, a list of {num_envs} or None, got {shown(seed)}")
    seeds = list(seed)
    if len(seeds) != num_envs:
        raise EnvError(f"{num_envs} envs need {num_envs} seeds, got {len(seeds)}")
    return [None if s is None else checked_seed(s, f"seed[{index}]") for index, s in enumerate(seeds)]


def check_started(unstarted: Sequence[int], finished: Sequence[int]) -> None:
    """Refuse a step while envs were never reset or, where nothing resets them by itself, have finished."""
    if unstarted:
        raise NotStartedError(f"{_envs(unstarted)} must be reset before the first step()")
    if finished:
        mask = "options={'reset_mask': ...}"
        raise NotStartedError(f"the episode of {_envs(finished)} is over: reset({mask}) comes before the next step()")


def _envs(indices: Sequence[int]) -> str:
    listed = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return f"env {listed}" if len(indices) == 1 else f"envs {listed}"
