"""Recorded worlds driven again: with other surfaces and light, or with noise on the steering and the expert's labels.

Possible for drives of the simulator, whose provenance says scenario, seed and robot; not for recordings of a real one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.augmentation.base import changed, robot_of, trace_of
from vla_sim.augmentation.mirroring import MIRROR, Mirror, is_mirrored
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome, Role, Scene
from vla_sim.datasets.serbot.actions import START, STOP, with_still_start

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.envs.navigate import NavigateEnv
    from vla_sim.scenarios import Scenario

# Odometry and speeds of the drive that is repeated must agree with the recorded ones to this (m, rad, m/s, rad/s).
AGREEMENT = 1e-3
# Mean difference in grey levels between the recorded first picture and that of the rebuilt world: films lose a little.
PICTURE_AGREEMENT = 8.0
# Draws of a look until floor and walls stand out from the objects, which keep their colours.
LOOK_TRIES = 60
# Third word of the seed of new looks, so that they are those of no sampled world.
RELIT = 1


@dataclass(frozen=True)
class Origin:
    """The world that an episode was recorded in."""

    scenario: Scenario
    scene: Scene
    robot: Embodiment


def origin_of(episode: Episode, embodiment: str | None = None) -> Origin:
    """Rebuild the world of an episode.

    Args:
        episode: not mirrored.
        embodiment: name or file of the robot, where the provenance's name alone does not find it.

    Raises:
        UserError: it is no drive of the simulator, or scenario or robot have changed since.
    """
    from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource

    known = episode.provenance
    missing = [key for key in ("scenario", "seed", "embodiment") if known.get(key, "") == ""]
    if missing or not known.get("simulated"):
        what = f"its provenance has no {', '.join(missing)}" if missing else "it is no drive of the simulator"
        raise UserError(f"{episode.name}: its world cannot be built again: {what}")
    seed = int(known["seed"])
    if not 0 <= seed < FIRST_EVALUATION_SEED:
        raise UserError(f"{episode.name}: seed {seed} is kept for evaluation: no training data is made of its world")
    height, width = episode.images.shape[1:3]
    robot = robot_of(episode, embodiment)
    robot = replace(robot, camera=replace(robot.camera, image_px=(width, height)))
    language = str(known.get("language", "")) or None
    source = SceneSource(str(known["scenario"]), robot, "train", language)
    for what, said, now in (
        ("scenario", known.get("scenario_hash"), source.scenario.hash),
        ("embodiment", known.get("embodiment_hash"), robot.content_hash),
    ):
        if said and said != now:
            raise UserError(f"{episode.name}: the {what} {known[what]!r} has changed since it was recorded")
    return Origin(source.scenario, source.scene(seed), robot)


@dataclass(frozen=True)
class Rerender:
    """The same drive in the same world under other surfaces and light, pictures drawn anew.

    Bodies, camera, motion, words and the colours that words may name stay; what changes are sun, ambient light, tint,
    the floor, the walls, the surfaces of all bodies and the colours of obstacles.

    Attributes:
        embodiment: file of the robot, where its name alone does not find it.
    """

    embodiment: str | None = None

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The drive with other looks.

        Raises:
            UserError: its world cannot be rebuilt, or the drive does not come out as recorded.
        """
        if is_mirrored(episode):
            return Mirror()(self(Mirror()(episode), rng))
        _refuse_changed(episode, "rerender", but=("perturb",))
        origin = origin_of(episode, self.embodiment)
        looks_seed = int(rng.integers(2**31))
        images = redriven(episode, origin, relit(origin, looks_seed))
        return changed(episode, "rerender", {"looks_seed": looks_seed}, images=images)


def _refuse_changed(episode: Episode, what: str, but: tuple[str, ...] = ()) -> None:
    done = [entry.split("(")[0] for entry in trace_of(episode)]
    undone = [name for name in done if name not in (MIRROR, *but)]
    if undone:
        raise UserError(f"{episode.name}: {what} would undo {undone[0]}; it must come before that in the recipe")


def relit(origin: Origin, looks_seed: int) -> Scene:
    """The world with the looks of another seed: see `Rerender` for what stays."""
    from vla_sim.scenarios.appearance import FLOOR_GAP, WALL_GAP, dress
    from vla_sim.scenarios.sampling import Stream, draw_layout, stream

    scene = origin.scene
    plan, layout, _ = draw_layout(
        origin.scenario.blueprints, stream(scene.seed, Stream.LAYOUT), origin.robot.body.radius_m
    )
    rng = np.random.default_rng([looks_seed, int(Stream.LOOK), RELIT])
    best: tuple[float, Scene] | None = None
    for _ in range(LOOK_TRIES):
        bodies, look, _ = dress(plan, layout, rng)
        worn = {body.name: body for body in bodies}
        dressed = tuple(
            replace(
                body,
                texture=worn[body.name].texture,
                color=worn[body.name].color if body.role in (Role.OBSTACLE, Role.WALL) else body.color,
            )
            for body in scene.bodies
        )
        # The camera is no look: silhouettes stay.
        look = replace(look, camera_tilt_rad=scene.look.camera_tilt_rad)
        colors = [body.color for body in dressed if body.role is not Role.WALL]
        goal = next(body.color for body in dressed if body.role is Role.GOAL)
        spare = min(
            min(math.dist(look.floor_color, color) for color in colors) - FLOOR_GAP,
            math.dist(look.wall_color, goal) - WALL_GAP,
        )
        if best is None or spare > best[0]:
            best = (spare, replace(scene, bodies=dressed, look=look))
        if spare >= 0:
            break
    assert best is not None
    return best[1]


def redriven(episode: Episode, origin: Origin, scene: Scene) -> np.ndarray:
    """The pictures that the recorded actions give in a world that differs from the recorded one in looks only.

    Raises:
        UserError: the robot does not do what was recorded.
    """
    seen = _Seen()
    with _studio(origin.robot) as env:
        _check_first_picture(episode, origin, env)
        seen.add(env.reset(seed=scene.seed, options={"scene": scene})[0])
        for step, action in enumerate(episode.actions):
            event = episode.events[step] if episode.events else ""
            if event == START and not action.any():
                # The still frame that recordings begin with took no simulated time.
                seen.repeat()
            elif env.simulation.outcome is None:
                seen.add(env.step(action)[0])
            elif event == STOP and not action.any():
                seen.repeat()
            else:
                raise UserError(f"{episode.name}: driven again, it ends after {step} of {len(episode)} steps")
    _check_same(episode, np.stack(seen.states))
    return np.stack(seen.images)[: len(episode.images)]


def _check_same(episode: Episode, states: np.ndarray) -> None:
    if episode.states is None:
        return
    apart = np.abs(states[: len(episode.states)] - episode.states).max(axis=1)
    if apart.max() > AGREEMENT:
        raise UserError(
            f"{episode.name}: driven again, the robot is not where it was recorded from step "
            f"{int(np.argmax(apart > AGREEMENT))} on"
        )


def _check_first_picture(episode: Episode, origin: Origin, env: NavigateEnv) -> None:
    """Odometry says nothing about what stands around: the first picture does."""
    image = env.reset(seed=origin.scene.seed, options={"scene": origin.scene})[0]["image"]
    if np.abs(image.astype(np.int16) - episode.images[0]).mean() > PICTURE_AGREEMENT:
        raise UserError(
            f"{episode.name}: the world of {origin.scenario.name}, seed {origin.scene.seed}, does not look as recorded"
        )


@dataclass
class _Seen:
    """Pictures and states of a drive so far."""

    images: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)

    def add(self, observation: dict[str, Any]) -> None:
        self.images.append(observation["image"])
        self.states.append(observation["state"])

    def repeat(self) -> None:
        self.images.append(self.images[-1])
        self.states.append(self.states[-1])


@contextmanager
def _studio(robot: Embodiment) -> Iterator[NavigateEnv]:
    from vla_sim.envs.navigate import NavigateEnv

    env = NavigateEnv("obstacle_left", robot)
    try:
        yield env
    finally:
        env.close()


@dataclass(frozen=True)
class Perturb:
    """The expert drives the recorded world again with smooth noise on the steering; its own actions are the labels.

    A policy trained on the labels learns the way back. The drive is another one than the recorded: it may even fail,
    and the outcome says so.

    Attributes:
        strength: size of the noise in shares of full speed, as `noise` of `vla_sim.collect`; 0 changes nothing.
        embodiment: file of the robot, where its name alone does not find it.
    """

    strength: float = 0.5
    embodiment: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and 0 <= self.strength <= 2):
            raise UserError(f"perturb: strength must lie between 0 and 2, got {self.strength}")

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The noisy drive in the world of the episode.

        Raises:
            UserError: its world cannot be rebuilt.
        """
        if self.strength == 0:
            return episode
        if is_mirrored(episode):
            return Mirror()(self(Mirror()(episode), rng))
        _refuse_changed(episode, "perturb")
        origin = origin_of(episode, self.embodiment)
        noise_seed = int(rng.integers(2**31))
        drive = _driven_with_noise(episode, origin, self.strength, noise_seed)
        images, states = np.stack(drive.seen.images), np.stack(drive.seen.states)
        frames = len(images) if episode.has_last_image else len(images) - 1
        facts: dict[str, Plain] = {**episode.provenance, "policy": "expert", "noise": self.strength}
        made = changed(
            episode,
            "perturb",
            {"strength": self.strength, "noise_seed": noise_seed},
            images=images[:frames],
            actions=np.stack(drive.actions).astype(np.float32),
            labels=np.stack(drive.labels).astype(np.float32),
            states=None if episode.states is None else states[:frames],
            events=None,
            outcome=drive.outcome,
            provenance=facts,
        )
        still = bool(episode.events) and episode.events[0] == START  # type: ignore[index]
        return with_still_start(made) if still else made


@dataclass
class _NoisyDrive:
    seen: _Seen = field(default_factory=_Seen)
    actions: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    outcome: Outcome | None = None


def _driven_with_noise(episode: Episode, origin: Origin, size: float, noise_seed: int) -> _NoisyDrive:
    from vla_sim.envs.simulation import action_bounds, checked_action
    from vla_sim.policies.expert import ExpertPolicy
    from vla_sim.rollout.recording import NOISE_MEMORY, NOISE_SIZE, as_key

    robot, scene, drive = origin.robot, origin.scene, _NoisyDrive()
    rng, bounds = np.random.default_rng(noise_seed), action_bounds(robot)
    noise = np.zeros(len(bounds))
    expert = ExpertPolicy()
    expert.reset(np.ones(1, dtype=bool), np.array([scene.seed]))
    with _studio(robot) as env:
        _check_first_picture(episode, origin, env)
        observation, info = env.reset(seed=scene.seed, options={"scene": scene})
        drive.seen.add(observation)
        while env.simulation.outcome is None:
            label = expert.act({}, [{**info, "embodiment": robot}])[0]
            label = as_key(label, robot.max_mps) if episode.provenance.get("keys") else label
            noise = NOISE_MEMORY * noise + NOISE_SIZE * size * bounds * rng.standard_normal(len(bounds))
            action = checked_action(label + noise, robot).astype(np.float32)
            observation, _, _, _, info = env.step(action)
            drive.seen.add(observation)
            drive.actions.append(action)
            drive.labels.append(label)
        drive.outcome = env.simulation.outcome
    return drive
