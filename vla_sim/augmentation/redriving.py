"""Recorded worlds driven again: with other surfaces and light, or with noise on the steering and the expert's labels.

Possible for simulated episodes, whose provenance says scenario, seed and robot; not for recordings of a real one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vla_sim.augmentation.base import changed, robot_of, trace_of
from vla_sim.augmentation.mirroring import MIRROR, Mirror, is_mirrored
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.core.types import Role, Scene
from vla_sim.datasets.serbot.actions import START, STOP, with_still_start
from vla_sim.envs.simulation import action_bounds
from vla_sim.policies.base import Policy
from vla_sim.rollout.observers import Demonstration
from vla_sim.rollout.rollout import Ended, rollout
from vla_sim.rollout.steering import EXPERT, ByActions, EightHeadings, Noisy, Steering, Supervised

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.scenarios import Scenario

# Odometry and speeds of the episode that is repeated must agree with the recorded ones to this (m, rad, m/s, rad/s).
AGREEMENT = 1e-3
# Mean difference in grey levels between the recorded first image and that of the rebuilt world: films lose a little.
IMAGE_AGREEMENT = 8.0
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
        UserError: it is no episode of the simulator, or scenario or robot have changed since.
    """
    from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource

    known = episode.provenance
    missing = [key for key in ("scenario", "seed", "embodiment") if known.get(key, "") == ""]
    if missing or not known.get("simulated"):
        what = f"its provenance has no {', '.join(missing)}" if missing else "it is no episode of the simulator"
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
    """The same episode in the same world under other surfaces and light, images drawn anew.

    Bodies, camera, motion, words and the colours that words may name stay; what changes are sun, ambient light, tint,
    the floor, the walls, the surfaces of all bodies and the colours of obstacles.

    Attributes:
        embodiment: file of the robot, where its name alone does not find it.
    """

    embodiment: str | None = None

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The drive with other looks.

        Raises:
            UserError: its world cannot be rebuilt, or the episode does not come out as recorded.
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
    from vla_sim.scenarios.appearance import FLOOR_GAP, WALL_GAP, draw_appearance
    from vla_sim.scenarios.sampling import Stream, draw_layout, stream

    scene = origin.scene
    plan, layout = draw_layout(
        origin.scenario.distributions, stream(scene.seed, Stream.LAYOUT), origin.robot.body.radius_m
    )
    rng = np.random.default_rng([looks_seed, int(Stream.LOOK), RELIT])
    best: tuple[float, Scene] | None = None
    for _ in range(LOOK_TRIES):
        bodies, look, _ = draw_appearance(plan, layout, rng)
        worn = {body.name: body for body in bodies}
        dressed = tuple(
            replace(
                body,
                texture=worn[body.name].texture,
                color=worn[body.name].color
                if body.role in (Role.OBSTACLE, Role.WALL, Role.FURNITURE, Role.MOVER)
                else body.color,
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
    """The images that the recorded actions give in a world that differs from the recorded one in looks only.

    Raises:
        UserError: the robot does not do what was recorded.
    """
    # The still frame that recordings begin with took no simulated time.
    still = int(bool(episode.events) and episode.events[0] == START and not episode.actions[0].any())  # type: ignore[index]
    with Studio(origin) as studio:
        studio.check_first_image(episode)
        driven = studio.run(ByActions(episode.actions[still:], origin.robot), scene)
    seen, steps = driven.observer.seen, still + len(driven.observer.actions.executed)
    for step in range(steps, len(episode)):
        if not (episode.events and episode.events[step] == STOP and not episode.actions[step].any()):
            raise UserError(f"{episode.name}: driven again, it ends after {steps} of {len(episode)} steps")
    padding = [-1] * (len(episode) - steps)
    order = [*[0] * still, *range(len(seen.images)), *padding]
    _check_same(episode, np.stack([seen.states[i] for i in order]))
    return np.stack([seen.images[i] for i in order])[: len(episode.images)]


def _check_same(episode: Episode, states: np.ndarray) -> None:
    if episode.states is None:
        return
    apart = np.abs(states[: len(episode.states)] - episode.states).max(axis=1)
    if apart.max() > AGREEMENT:
        raise UserError(
            f"{episode.name}: driven again, the robot is not where it was recorded from step "
            f"{int(np.argmax(apart > AGREEMENT))} on"
        )


class Studio:
    """One env in which the world of an episode is driven again; use it in a `with` statement."""

    def __init__(self, origin: Origin) -> None:
        from vla_sim.envs.vector import NavigateVectorEnv

        self._origin = origin
        self._env = NavigateVectorEnv(1, origin.scenario, origin.robot, autoreset_mode="Disabled")

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()

    def run(self, steering: Steering[Scene], scene: Scene) -> Ended[Scene, Demonstration]:
        """One episode in a scene."""
        return next(rollout(self._env, steering, [scene], lambda job: job, Demonstration))

    def check_first_image(self, episode: Episode) -> None:
        """Odometry says nothing about what stands around: the first image does.

        Raises:
            UserError: the rebuilt world does not look as recorded.
        """
        origin = self._origin
        still = self.run(ByActions([], origin.robot), origin.scene).observer.seen.images[0]
        if np.abs(still.astype(np.int16) - episode.images[0]).mean() > IMAGE_AGREEMENT:
            raise UserError(
                f"{episode.name}: the world of {origin.scenario.name}, seed {origin.scene.seed}, "
                "does not look as recorded"
            )


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
        """The noisy episode in the world of the episode.

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
        driven = self._driven(episode, origin, noise_seed)
        seen, actions = driven.observer.seen, driven.observer.actions
        images, states = np.stack(seen.images), np.stack(seen.states)
        frames = len(images) if episode.has_last_image else len(images) - 1
        facts: dict[str, Plain] = {**episode.provenance, "policy": "expert", "noise": self.strength}
        made = changed(
            episode,
            "perturb",
            {"strength": self.strength, "noise_seed": noise_seed},
            images=images[:frames],
            actions=np.stack(actions.executed).astype(np.float32),
            labels=np.stack(actions.proposed[EXPERT]).astype(np.float32),
            states=None if episode.states is None else states[:frames],
            sensors={
                name: np.stack(values)[:frames] for name, values in seen.sensors.items() if name in episode.sensors
            },
            events=None,
            outcome=driven.outcome,
            provenance=facts,
        )
        still = bool(episode.events) and episode.events[0] == START  # type: ignore[index]
        return with_still_start(made) if still else made

    def _driven(self, episode: Episode, origin: Origin, noise_seed: int) -> Ended[Scene, Demonstration]:
        from vla_sim.policies.expert import ExpertPolicy

        expert: Policy = EightHeadings(ExpertPolicy()) if episode.provenance.get("keys") else ExpertPolicy()
        steering = Noisy[Scene](
            Supervised[Scene](expert, origin.robot),
            action_bounds(origin.robot),
            noise=lambda scene: self.strength,
            seed=lambda scene: noise_seed,
        )
        with Studio(origin) as studio:
            studio.check_first_image(episode)
            return studio.run(steering, origin.scene)
