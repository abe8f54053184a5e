"""Scenario: a named distribution of scenes with their tasks and sentences, and how one is drawn from a seed."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vla_sim.core.seeds import checked_seed
from vla_sim.core.types import Body, Change, Instruction, Look, Role, Scene, Side, SuccessRule, Task
from vla_sim.scenarios.appearance import draw_appearance
from vla_sim.scenarios.facts import facts_of, possible_facts
from vla_sim.scenarios.language import Facts, drawn_language, instruct, sentences
from vla_sim.scenarios.languages import ROUTE, THROUGH, check_language, sentences_hash
from vla_sim.scenarios.layout import Layout
from vla_sim.scenarios.reading import InfeasibleScenarioError
from vla_sim.scenarios.sampling import Stream, draw_layout, stream
from vla_sim.scenarios.scene_distribution import SceneDistribution
from vla_sim.scenarios.task_rules import LaterSentence, Refusal

# Raise it when the same file and seed give another world: it is part of every scenario's hash.
SAMPLER_VERSION = 3


@dataclass(frozen=True)
class Scenario:
    """A language-goal scenario family, read from a file.

    Attributes:
        name: e.g. "obstacle_left".
        suite: folder that it comes from, e.g. "core"; "" for a file elsewhere.
        description: one line for people.
        source: the file.
        distributions: each world is built after one of them, all equally likely.
        content_hash: sha256 of the file's content as far as it concerns this scenario.
        family: shared by the scenarios that differ in nothing but the side that is asked for, e.g. "obstacle_*".
        twin: name of the scenario of its family with the other side; "" for none.
        family_hash: sha256 of the content without the side.
    """

    name: str
    suite: str
    description: str
    source: Path
    distributions: tuple[SceneDistribution, ...] = field(repr=False)
    content_hash: str = field(repr=False)
    family: str = ""
    twin: str = ""
    family_hash: str = field(repr=False, default="")

    @property
    def hash(self) -> str:
        """Sha256 of everything that decides which scene a seed gives: content, sentences, way of sampling."""
        return self.hash_in(None)

    def hash_in(self, language: str | None) -> str:
        """As `hash`, where only this language is spoken; None for the scenario's mix."""
        mixes = [plan.language.mix for plan in self.distributions]
        spoken = tuple(sorted({*itertools.chain.from_iterable(mixes), *([language] if language else [])}))
        kinds = {kind for plan in self.distributions for item in plan.objects for kind in item.kind.values}
        said = sentences_hash(spoken, tuple(sorted(self._sections())), tuple(sorted(kinds)))
        return hashlib.sha256(f"{SAMPLER_VERSION} {self.content_hash} {said}".encode()).hexdigest()

    def _sections(self) -> set[str]:
        """Sections of the languages' files that only some scenarios use."""
        reasons = {plan.task.refuse.section for plan in self.distributions if plan.task.refuse}
        said = {one.say for plan in self.distributions for one in plan.later} - {"again"}
        routes = {ROUTE for plan in self.distributions if plan.legs}
        doors = {THROUGH for plan in self.distributions if any(leg.through for leg in plan.legs)}
        return (reasons | said | routes | doors) - {""}

    @property
    def side(self) -> Side | None:
        """Side that is asked for, where it is the same in all scenes."""
        sides = {plan.task.side for plan in self.distributions}
        return sides.pop() if len(sides) == 1 else None

    def sample(
        self, seed: int, *, split: str = "train", robot_radius_m: float = 0.15, language: str | None = None
    ) -> Scene:
        """The world of a seed: always the same for the same arguments, always feasible for a robot of that radius.

        Args:
            seed: from 0 to 2^63 - 1.
            split: phrasings to draw from: "train", "eval" or "all".
            robot_radius_m: radius of the robot's footprint.
            language: code of the one to speak; None draws one by the scenario's shares: as many as promised of ten
                consecutive seeds.

        Raises:
            InfeasibleScenarioError: the file allows hardly any scene in which the goal can be reached.
            UserError: no such split or language, or no such seed.
        """
        seed = checked_seed(seed)
        if language is not None:
            check_language(language)
        plan, layout, bodies, look, colors = self._drawn(seed, robot_radius_m)
        facts = facts_of(plan, bodies, colors, layout.start, stream(seed, Stream.REFUSAL))
        chosen = language or drawn_language(seed, plan.language.mix, self.family_hash, plan.language.offset)
        task, instruction = _task(plan), instruct(facts, stream(seed, Stream.WORDING), split, chosen)
        return Scene(
            scenario=self.name,
            seed=seed,
            start=layout.start,
            bodies=bodies,
            bounds_m=layout.bounds_m,
            task=task,
            look=look,
            instruction=instruction,
            twin=self.twin,
            changes=_changes(plan, facts, seed, task, instruction),
            motions=layout.motions,
            doorways=layout.doorways,
        )

    def equivalents(self, seed: int, *, split: str = "train", robot_radius_m: float = 0.15) -> list[str]:
        """Every sentence of a split, in all languages, that says the same of the world of a seed."""
        plan, layout, bodies, _, colors = self._drawn(checked_seed(seed), robot_radius_m)
        return list(sentences(facts_of(plan, bodies, colors, layout.start, stream(seed, Stream.REFUSAL)), split, None))

    def later_equivalents(self, seed: int, *, split: str = "train", robot_radius_m: float = 0.15) -> list[list[str]]:
        """For each of the changes of the world of a seed, in their order, every sentence that says the same."""
        scene = self.sample(seed, split=split, robot_radius_m=robot_radius_m)
        plan, layout, bodies, _, colors = self._drawn(scene.seed, robot_radius_m)
        first = facts_of(plan, bodies, colors, layout.start, stream(scene.seed, Stream.REFUSAL))
        stop = replace(first, section=Refusal.STOP.value)
        return [list(sentences(first if change.task == scene.task else stop, split, None)) for change in scene.changes]

    def alternatives(self, seed: int, *, robot_radius_m: float = 0.15) -> list[tuple[Scene, list[str]]]:
        """The world of a seed with each of its objects as the goal in turn, and all training sentences for that.

        None where the right answer is to stand still, or there are several legs.
        """
        scene = self.sample(seed, robot_radius_m=robot_radius_m)
        if scene.task.refuse or scene.task.legs:
            return []
        plan, _, _, _, colors = self._drawn(scene.seed, robot_radius_m)
        found = []
        for goal in (body for body in scene.bodies if body.role in (Role.GOAL, Role.DISTRACTOR)):
            bodies = tuple(_with_goal(body, goal.name) for body in scene.bodies)
            texts = list(
                sentences(facts_of(plan, bodies, colors, scene.start, stream(seed, Stream.REFUSAL)), "train", None)
            )
            instruction = replace(scene.instruction, text=texts[0], phrasing="")
            found.append((replace(scene, bodies=bodies, instruction=instruction), texts))
        return found

    def _drawn(
        self, seed: int, robot_radius_m: float
    ) -> tuple[SceneDistribution, Layout, tuple[Body, ...], Look, dict[str, str]]:
        """Distribution, layout, bodies, look and names of the colours of the scene of a seed."""
        try:
            plan, layout = draw_layout(self.distributions, stream(seed, Stream.LAYOUT), robot_radius_m)
            return plan, layout, *draw_appearance(plan, layout, stream(seed, Stream.LOOK))
        except InfeasibleScenarioError as error:
            raise InfeasibleScenarioError(
                f"{self.name}: no feasible scene for seed {seed}: {error} ({self.source})"
            ) from error

    def instructions(self, split: str = "all", language: str | None = None) -> list[str]:
        """Every sentence that its scenes can come with, without repetition."""
        every = (sentences(facts, split, language) for plan in self.distributions for facts in possible_facts(plan))
        return list(dict.fromkeys(itertools.chain.from_iterable(every)))


def _with_goal(body: Body, goal: str) -> Body:
    if body.role not in (Role.GOAL, Role.DISTRACTOR):
        return body
    return replace(body, role=Role.GOAL if body.name == goal else Role.DISTRACTOR)


def _changes(
    plan: SceneDistribution, facts: Facts, seed: int, task: Task, instruction: Instruction
) -> tuple[Change, ...]:
    """What is said later, in the language of the first sentence."""
    rng = stream(seed, Stream.LATER)
    changes = [_change(one, facts, rng, task, instruction) for one in plan.later]
    return tuple(sorted(changes, key=lambda change: change.at_s))


def _change(
    later: LaterSentence, facts: Facts, rng: np.random.Generator, task: Task, instruction: Instruction
) -> Change:
    at_s = float(later.at_s.draw(rng))
    if later.say == "again":
        return Change(at_s, instruction, task)
    told = instruct(replace(facts, section=Refusal.STOP.value), rng, instruction.split, instruction.language)
    return Change(at_s, told, replace(task, refuse=True), at_once=True)


def _task(plan: SceneDistribution) -> Task:
    task = plan.task
    return Task(
        side=task.side,
        success=SuccessRule(task.success),
        reach_m=task.reach_m,
        time_limit_s=task.time_limit_s,
        collision_ends=task.collision_ends,
        stop_steps=task.stop_steps,
        give_up_s=task.give_up_s,
        refuse=task.refuse is not None,
        stay_m=task.stay_m,
        legs=tuple(rule.leg for rule in plan.legs),
    )
