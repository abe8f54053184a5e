"""What a sentence may say about a sampled scene: which words name the goal and nothing else.

Where the right answer is to stand still, they name nothing at all or two things at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vla_sim.core.types import Body, Kind, Pose2, Role, Side
from vla_sim.scenarios.language import Facts
from vla_sim.scenarios.languages import REFERENCES
from vla_sim.scenarios.layout import candidates
from vla_sim.scenarios.scene_distribution import NAMED_ROLES, SceneDistribution
from vla_sim.scenarios.task_rules import Refusal

# What a description tells of an object: reference -> (kind, colour) as far as it says them.
Described = tuple[str | None, str | None]


def facts_of(
    plan: SceneDistribution,
    bodies: Sequence[Body],
    colors: Mapping[str, str],
    start: Pose2,
    rng: np.random.Generator,
) -> Facts:
    """What a sentence may say about a scene.

    Args:
        plan: what it was drawn from.
        bodies: of the scene.
        colors: name of the colour of each object.
        start: of the robot.
        rng: draws what a sentence speaks of that has no right object.
    """
    named, refusal = candidates(bodies, start), plan.task.refuse
    kind, color, references = _meant(plan, named, colors, rng)
    obstacles = [body for body in bodies if body.role is Role.OBSTACLE]
    side = plan.task.side
    if refusal is Refusal.CONTRADICTION and side is None:
        side = (Side.LEFT, Side.RIGHT)[int(rng.integers(2))]
    facts = Facts(
        goal=kind,
        color=color,
        side=side,
        obstacle=obstacles[0].kind if obstacles else None,
        count=len(obstacles),
        references=references,
        sentences=plan.language.sentences,
        section=refusal.section if refusal else "",
    )
    by_name = {body.name: body for body in bodies}
    legs = [
        replace(facts, through=True, references=())
        if rule.through
        else _leg(facts, by_name[rule.name], named, colors, past=rule.past is not None)
        for rule in plan.legs
    ]
    return replace(facts, legs=tuple(legs))


def _leg(facts: Facts, body: Body, named: Sequence[Body], colors: Mapping[str, str], *, past: bool) -> Facts:
    """What may be said of one leg."""
    if past:
        return replace(facts, obstacle=body.kind, count=1, references=())
    references = _beside_sides(facts.side, _references(body, named, colors))
    return replace(facts, goal=body.kind, color=colors[body.name], references=references)


def _beside_sides(side: Side | None, references: tuple[str, ...]) -> tuple[str, ...]:
    """Without left and right where the sentence says a side: its twin exchanges these words, not the object."""
    return tuple(r for r in references if r not in ("left", "right")) if side else references


def _meant(
    plan: SceneDistribution, named: Sequence[Body], colors: Mapping[str, str], rng: np.random.Generator
) -> tuple[Kind, str, tuple[str, ...]]:
    """Kind and colour that a sentence speaks of, and the ways to name it."""
    if plan.task.refuse is Refusal.ABSENT:
        (kind, color), references = _absent(plan, named, colors, rng)
        return kind, color, references
    if plan.task.refuse is Refusal.AMBIGUOUS:
        body, references = _ambiguous(named, colors, rng)
        return body.kind, colors[body.name], references
    goal = next(body for body in named if body.role is Role.GOAL)
    return goal.kind, colors[goal.name], _references(goal, named, colors)


def _told(reference: str, kind: Kind, color: str) -> Described:
    """What is said of an object that is named in this way."""
    return {"kind": (kind.value, None), "color": (None, color), "color_kind": (kind.value, color)}[reference]


def _matching(told: Described, named: Sequence[Body], colors: Mapping[str, str]) -> list[Body]:
    """The objects that a description fits."""
    kind, color = told
    return [b for b in named if kind in (None, b.kind.value) and color in (None, colors[b.name])]


def _absent(
    plan: SceneDistribution, named: Sequence[Body], colors: Mapping[str, str], rng: np.random.Generator
) -> tuple[tuple[Kind, str], tuple[str, ...]]:
    """An object that is not there, and one way to name it.

    Named by kind and colour, it is of a kind and of a colour that are there, on two objects.
    """
    kinds, shades = _could_be(plan)
    present = {body.kind for body in named}
    there = {colors[body.name] for body in named}
    choices: dict[str, list[tuple[Kind, str]]] = {}
    for kind, color, reference in itertools.product(kinds, shades, ("kind", "color", "color_kind")):
        if reference == "color_kind" and (kind not in present or color not in there):
            continue
        if not _matching(_told(reference, kind, color), named, colors):
            choices.setdefault(reference, []).append((kind, color))
    reference = sorted(choices)[int(rng.integers(len(choices)))]
    return choices[reference][int(rng.integers(len(choices[reference])))], (reference,)


def _could_be(plan: SceneDistribution) -> tuple[list[Kind], list[str]]:
    """Kinds and colours that the objects of a file could have; cardboard is no colour that is said."""
    items = [item for item in plan.objects if item.role in NAMED_ROLES]
    kinds = sorted({Kind(kind) for item in items for kind in item.kind.values}, key=lambda kind: kind.value)
    return kinds, sorted({str(color) for item in items for color in item.color.values} - {"cardboard"})


def _ambiguous(
    named: Sequence[Body], colors: Mapping[str, str], rng: np.random.Generator
) -> tuple[Body, tuple[str, ...]]:
    """One of several objects that a description fits, and that description."""
    found: dict[str, list[Body]] = {}
    for body, reference in itertools.product(named, ("kind", "color", "color_kind")):
        if reference != "kind" and colors[body.name] == "cardboard":
            continue
        if len(_matching(_told(reference, body.kind, colors[body.name]), named, colors)) > 1:
            found.setdefault(reference, []).append(body)
    reference = sorted(found)[int(rng.integers(len(found)))]
    return found[reference][int(rng.integers(len(found[reference])))], (reference,)


def _references(goal: Body, named: Sequence[Body], colors: Mapping[str, str]) -> tuple[str, ...]:
    """The ways to name the goal that fit no other object."""
    if len(named) < 2:
        return ()
    nameless = colors[goal.name] == "cardboard"
    places = {2: ("left", "right"), 3: ("left", "middle", "right")}.get(len(named), ())
    described = [
        reference
        for reference in ("kind", "color", "color_kind")
        if (reference == "kind" or not nameless)
        and len(_matching(_told(reference, goal.kind, colors[goal.name]), named, colors)) == 1
    ]
    return (*described, *places[named.index(goal) :][:1])


def possible_facts(plan: SceneDistribution) -> list[Facts]:
    """All facts that the scenes of a distribution can have."""
    obstacles = [item for item in plan.objects if item.role == "obstacle"]
    kinds, colors = _could_be(plan)
    goals = [item for item in plan.objects if item.role in NAMED_ROLES and item.role != "distractor"]
    several = len([item for item in plan.objects if item.role in NAMED_ROLES]) > 1
    named = {(Kind(kind), str(color)) for item in goals for kind in item.kind.values for color in item.color.values}
    refusal = plan.task.refuse
    if refusal is Refusal.ABSENT:
        named |= set(itertools.product(kinds, colors))
    sides = [plan.task.side] if plan.task.side or refusal is not Refusal.CONTRADICTION else list(Side)
    stops = any(later.say == "stop" for later in plan.later)
    sections = [refusal.section if refusal else "", *([Refusal.STOP.section] if stops else [])]
    facts = [
        Facts(
            goal=kind,
            color=color,
            side=side,
            obstacle=Kind(obstacles[0].kind.values[0]) if obstacles else None,
            count=len(obstacles),
            references=_possible_references(color, refusal) if several else (),
            sentences=plan.language.sentences,
            section=section,
        )
        for section in sections
        for kind, color in sorted(named)
        for side in sides
    ]
    return [_with_legs(plan, facts, first) for first in range(len(facts))] if plan.legs else facts


def _with_legs(plan: SceneDistribution, facts: Sequence[Facts], first: int) -> Facts:
    """Facts of a scene of several legs whose first object is the given one: the others follow in the list."""
    legs = []
    for number, leg in enumerate(plan.legs):
        its = facts[(first + number) % len(facts)]
        references = _beside_sides(its.side, its.references) if leg.to else ()
        legs.append(replace(its, count=1, references=references, through=leg.through is not None))
    return replace(facts[first], legs=tuple(legs))


def _possible_references(color: str, refusal: Refusal | None) -> tuple[str, ...]:
    listed = ("kind", "color", "color_kind") if refusal in (Refusal.ABSENT, Refusal.AMBIGUOUS) else REFERENCES
    return tuple(r for r in listed if color != "cardboard" or not r.startswith("color"))
