"""What must fit together in a scenario file: roles, places of objects, and that candidates can differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vla_sim.core.config import Place, shown
from vla_sim.core.errors import suggest
from vla_sim.core.types import NAMED_KINDS
from vla_sim.scenarios.scene_distribution import CANDIDATE, LINE, ObjectDistribution, SceneDistribution
from vla_sim.scenarios.task_rules import Refusal

# Every scene is checked for a feasible way around all of its objects: more take minutes.
MAX_OBJECTS = 20
# Roles of objects that a sentence may name.
NAMED_ROLES = ("goal", "distractor", CANDIDATE)
MAX_MOVERS = 8
MAX_WALLS = 24
RESERVED_NAMES = (LINE, "wall_front", "wall_back", "wall_left", "wall_right", "robot", "floor")


def check_distribution(distribution: SceneDistribution, place: Place) -> None:
    """Refuse a distribution whose parts contradict each other.

    Raises:
        UserError: of the kind that `place` names.
    """
    _check_names(distribution, place)
    _check_refusal(distribution, place)
    _check_legs(distribution, place)
    _check_objects(distribution, place)
    _check_anchors(distribution, place)
    _check_differences(distribution, place)


def _check_names(distribution: SceneDistribution, place: Place) -> None:
    """Every body needs a name of its own; a wall with a doorway becomes two, NAME_1 and NAME_2."""
    taken: dict[str, str] = {}
    for key, items, most in (
        ("objects", distribution.objects, MAX_OBJECTS),
        ("movers", distribution.movers, MAX_MOVERS),
        ("walls", distribution.walls, MAX_WALLS),
    ):
        here = place.at(key)
        if len(items) > most:
            raise here.wrong(f"must be at most {most}, got {len(items)}")
        for item in items:
            if item.name in RESERVED_NAMES or re.fullmatch(r"wall_\d+", item.name):
                reserved = ", ".join(RESERVED_NAMES)
                raise here.at(item.name).wrong(
                    f"is a name with a meaning of its own ({reserved}, wall_1 and so on); choose another one"
                )
            for name in [item.name, f"{item.name}_1", f"{item.name}_2"] if key == "walls" else [item.name]:
                if name in taken:
                    raise here.at(item.name).wrong(f"gives {name!r}, which {taken[name]} has; choose another name")
                taken[name] = f"{key}.{item.name}"


def _check_objects(distribution: SceneDistribution, place: Place) -> None:
    items, roles = distribution.objects, [item.role for item in distribution.objects]
    goals, candidates = roles.count("goal"), roles.count(CANDIDATE)
    if candidates == 1 or (goals, bool(candidates)) not in ((1, False), (0, True)):
        raise place.wrong(
            "objects need exactly one goal, or no goal and two or more candidates; "
            f"got {goals} goals and {candidates} candidates"
        )
    for item in items:
        unnamed = [kind for kind in item.kind.values if kind not in NAMED_KINDS]
        if unnamed and item.role in NAMED_ROLES:
            allowed = ", ".join(kind.value for kind in NAMED_KINDS)
            here = place.at("objects").at(item.name).at("kind")
            raise here.wrong(f"must be one that sentences have a noun for ({allowed}), got {shown(unnamed[0].value)}")
    side = distribution.task.side
    if side and "obstacle" not in roles:
        raise place.wrong(f"task.side is {side.value!r}, but no object has the role obstacle")
    if len({kind for item in items if item.role == "obstacle" for kind in item.kind.values}) > 1:
        raise place.wrong("obstacles must be of one kind, so that a sentence can name them together")


def _check_refusal(distribution: SceneDistribution, place: Place) -> None:
    """A reason to stand still needs objects of which it can be true."""
    refusal, here = distribution.task.refuse, place.at("task").at("refuse")
    candidates = [item for item in distribution.objects if item.role == CANDIDATE]
    if refusal in (Refusal.ABSENT, Refusal.AMBIGUOUS) and not candidates:
        raise here.wrong(f"is {refusal.value!r}, which needs objects with the role candidate")
    if refusal is Refusal.CONTRADICTION and all(item.role != "obstacle" for item in distribution.objects):
        raise here.wrong("is 'contradiction', which needs an object with the role obstacle")
    kinds = {kind for item in candidates for kind in item.kind.values}
    colors = {color for item in candidates for color in item.color.values} - {"cardboard"}
    if refusal is Refusal.ABSENT and len(kinds) * max(1, len(colors)) <= len(candidates):
        raise here.wrong("is 'absent', which needs more kinds or colours than there are candidates")
    if refusal is Refusal.AMBIGUOUS and "kind" in distribution.differ:
        raise here.wrong("is 'ambiguous', but differ asks for another kind of each candidate: say differ = []")


def _check_legs(distribution: SceneDistribution, place: Place) -> None:
    """Legs name objects of the right roles, or the only walls with a doorway, and end with one to go to."""
    roles, here = {item.name: item.role for item in distribution.objects}, place.at("legs")
    doors = [wall.name for wall in distribution.walls if wall.door_at_m is not None]
    for leg in distribution.legs:
        role = CANDIDATE if leg.to else "obstacle" if leg.past else "wall with a doorway"
        allowed = doors if leg.through else [name for name, its in roles.items() if its == role]
        if leg.name not in allowed:
            raise here.wrong(f"names {shown(leg.name)}, which is no {role}; {suggest(leg.name, allowed)}")
    if not distribution.legs:
        return
    names = [leg.name for leg in distribution.legs]
    if len(set(names)) < len(names):
        raise here.wrong(f"must name each object once, got {', '.join(names)}")
    if not distribution.legs[-1].to:
        raise here.wrong("must end with something to go to, not with something to pass or to go through")
    if any(leg.through for leg in distribution.legs) and not set(doors) <= set(names):
        unsaid = ", ".join(name for name in doors if name not in names)
        raise here.wrong(f"says through, so every wall with a doorway must be gone through, but not {unsaid}")
    if any(leg.past for leg in distribution.legs) and distribution.task.side is None:
        raise here.wrong("says past, so task.side must say on which side")
    if distribution.task.refuse or distribution.later:
        raise here.wrong("cannot be told together with task.refuse or later")


def _check_anchors(distribution: SceneDistribution, place: Place) -> None:
    """`ahead_from` and `aside_from` must name other objects and end somewhere; "line" needs the goal's place first."""
    items = distribution.objects
    goal = next((item.name for item in items if item.role == "goal"), None)
    for key in ("ahead_from", "aside_from"):
        links: dict[str, str | None] = {}
        for item in items:
            anchor = getattr(item, key)
            here = place.at("objects").at(item.name).at(key)
            others = [other.name for other in items if other is not item and other.frame == item.frame]
            allowed = [LINE, *others] if key == "aside_from" and item.name != goal and item.frame == "start" else others
            if anchor is not None and anchor not in allowed:
                raise here.wrong(f"unknown {shown(anchor)}; {suggest(anchor, allowed)}")
            if anchor == LINE and goal is None:
                raise place.wrong(f"{key} = 'line' needs an object with the role goal")
            links[item.name] = goal if anchor == LINE else anchor
        _check_circle(links, key, place)


def _check_circle(links: Mapping[str, str | None], key: str, place: Place) -> None:
    for name in links:
        seen: list[str] = []
        at: str | None = name
        while at is not None:
            if at in seen:
                circle = " -> ".join([*seen, at])
                raise place.at("objects").at(name).at(key).wrong(f"goes in a circle: {circle}")
            seen.append(at)
            at = links[at]


def _check_differences(distribution: SceneDistribution, place: Place) -> None:
    """Candidates that must differ need enough values among them."""
    candidates = [item for item in distribution.objects if item.role == CANDIDATE]
    for word, values in (
        ("kind", [item.kind.values for item in candidates]),
        ("color", [item.color.values for item in candidates]),
    ):
        if word in distribution.differ and not _can_differ(values):
            allowed = "; ".join(f"{c.name}: {_listed(c, word)}" for c in candidates)
            raise place.at("differ").wrong(
                f"asks for another {word} of each candidate, which these do not allow: {allowed}"
            )


def _listed(item: ObjectDistribution, word: str) -> str:
    values = item.kind.values if word == "kind" else item.color.values
    return ", ".join(sorted({str(getattr(value, "value", value)) for value in values}))


def _can_differ(options: Sequence[Sequence[str]]) -> bool:
    """Whether each can take a value of its own options that no other takes: a matching of all of them."""
    taken: dict[str, int] = {}

    def give(index: int, tried: set[str]) -> bool:
        for value in options[index]:
            if value not in tried:
                tried.add(value)
                if value not in taken or give(taken[value], tried):
                    taken[value] = index
                    return True
        return False

    return all(give(index, set()) for index in range(len(options)))
