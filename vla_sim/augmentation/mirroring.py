"""The world in a mirror: left becomes right in images, motion, words and names. Used by training and `augment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.augmentation.base import refuse_sensors, robot_of, trace_of, with_trace
from vla_sim.augmentation.words import mirror_name, mirror_text
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.core.sensors import LidarSpec
from vla_sim.scenarios.library import twin_of

# Sign of each component of actions and states in the mirrored world.
MIRROR_SIGN = {
    "vx": 1.0,
    "vy": -1.0,
    "wz": -1.0,
    "x_m": 1.0,
    "y_m": -1.0,
    "yaw_rad": -1.0,
    "vx_mps": 1.0,
    "vy_mps": -1.0,
    "wz_radps": -1.0,
    # LeKiwi's names, as its data sets have them.
    "x.vel": 1.0,
    "y.vel": -1.0,
    "theta.vel": -1.0,
}
# Facts that may name a side. Others, such as the file that an episode comes from, stay what they were.
SCENARIO_FACTS = ("scenario", "simulated_scenario")
SIDED_FACTS = (*SCENARIO_FACTS, "side", "phrasing")
MIRROR = "mirror"


def mirror_signs(names: Sequence[str]) -> np.ndarray:
    """Sign of each component in the mirrored world, float32.

    Raises:
        UserError: nobody knows what a component is.
    """
    for name in names:
        if name not in MIRROR_SIGN:
            raise UserError(f"cannot mirror {name!r}: known components are {', '.join(MIRROR_SIGN)}")
    return np.array([MIRROR_SIGN[name] for name in names], dtype=np.float32)


def is_mirrored(episode: Episode) -> bool:
    """Whether left and right are exchanged against the world that the provenance's seed gives."""
    return trace_of(episode).count(MIRROR) % 2 == 1


def _mirrored(episode: Episode, name: str) -> np.ndarray:
    """The ranges (T, rays) of a LiDAR with left and right exchanged.

    Raises:
        UserError: the robot that drove has no such LiDAR, or one that does not stand in its middle.
    """
    robot = robot_of(episode, None)
    sensor = robot.sensors.get(name)
    if not isinstance(sensor, LidarSpec) or sensor.mount_m[1] != 0:
        raise UserError(f"{episode.name}: cannot mirror {name!r}, which {robot.name} does not have in its middle")
    return sensor.mirrored(np.asarray(episode.sensors[name]))


@dataclass(frozen=True)
class Mirror:
    """Images, lateral motion and turning, odometry, words, events and names with left and right exchanged.

    Twice gives the episode again, byte for byte. The seed, hashes and source of the provenance still tell which world
    it was before: `is_mirrored` says that this is its mirror image.
    """

    def __call__(self, episode: Episode, rng: np.random.Generator | None = None) -> Episode:
        """The mirror image; nothing is drawn.

        Raises:
            UserError: nobody knows how a component, a word or a sensor is mirrored.
        """
        refuse_sensors(episode, MIRROR, but_ranges=True)
        signs = mirror_signs(episode.action_names)
        trace = trace_of(episode)
        return with_trace(
            episode,
            trace[:-1] if trace[-1:] == (MIRROR,) else (*trace, MIRROR),
            name=mirror_name(episode.name),
            images=np.ascontiguousarray(episode.images[:, :, ::-1]),
            sensors={name: _mirrored(episode, name) for name in episode.sensors},
            actions=episode.actions * signs,
            labels=None if episode.labels is None else episode.labels * signs,
            states=None if episode.states is None else episode.states * mirror_signs(episode.state_names),
            instruction=mirror_text(episode.instruction),
            sentences=tuple(map(mirror_text, episode.sentences)),
            events=None if episode.events is None else tuple(map(mirror_name, episode.events)),
            provenance={key: _mirrored_fact(key, value) for key, value in episode.provenance.items()},
        )


def _mirrored_fact(key: str, value: Plain) -> Plain:
    if key not in SIDED_FACTS or not isinstance(value, str):
        return value
    twin = twin_of(value) if key in SCENARIO_FACTS else ""
    # Of two names for one scenario the twin knows one only: twice must give the first again.
    return twin if twin and twin_of(twin) == value else mirror_name(value)
