"""Small episodes whose images say which episode and step they are of."""

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.types import Outcome

SENTENCES = ("Pass the box on the left side", "박스를 오른쪽으로 지나가세요")


def picture(number, step, size=48):
    """A grey image: a dark block moves from left to right, brightness tells the episode."""
    image = np.full((size, size, 3), 90 + 8 * (number % 12), np.uint8)
    x = (3 * step) % (size - 8)
    image[size // 2 : size // 2 + 10, x : x + 8] = (40, 20, 10)
    return image


def episode(number, steps=6, size=48, **changes):
    rng = np.random.default_rng(number)
    values = {
        "name": f"drive_{number}",
        "images": np.stack([picture(number, t, size) for t in range(steps + 1)]),
        "actions": rng.normal(size=(steps, 2)).astype(np.float32),
        "action_names": ("vx", "vy"),
        "instruction": SENTENCES[number % 2],
        "step_s": 0.4,
        "labels": rng.normal(size=(steps, 2)).astype(np.float32) if number % 3 == 0 else None,
        "states": rng.normal(size=(steps + 1, 3)).astype(np.float32),
        "state_names": ("x", "y", "yaw"),
        "events": ("episode_start",) + ("start_action",) * (steps - 1),
        "outcome": Outcome.SUCCESS if number % 2 else Outcome.TIMEOUT,
        "provenance": {"seed": number, "scenario": "obstacle_left", "noise": 0.5, "simulated": True},
    }
    return Episode(**{**values, **changes})
