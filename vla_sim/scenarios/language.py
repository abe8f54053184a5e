"""Instructions: sentences made from what is in a world and what is asked, so that text and world cannot disagree.

The sentences are content: `scenarios/languages/CODE.toml`. Drawn ones name their template, e.g. "pass_side.en.eval.2".
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.types import Instruction, Kind, Scene, Side
from vla_sim.scenarios.languages import (
    CONDITIONS,
    REFERENCES,
    ROUTE,
    SPLITS,
    THROUGH,
    Language,
    Noun,
    Phrase,
    language_codes,
    load_language,
    usual_shares,
)

# Sentences of several legs that are listed for one scene and language.
ROUTE_SENTENCES = 60


@dataclass(frozen=True)
class Facts:
    """What a sentence may say about a world.

    Attributes:
        side: side that is asked for.
        obstacle, count: kind and number of the obstacles.
        goal, color: kind and colour name of the goal.
        references: ways to tell the goal from other objects without doubt; empty when it is the only one.
        sentences: optional sets of sentences that fit this family.
        section: of the language's file, where the facts alone do not say what kind of sentence is needed.
        legs: what is said of each leg, where there are several; an obstacle that is passed has no references.
        through: of a leg: whether it leads through a doorway.
    """

    goal: Kind
    color: str
    side: Side | None = None
    obstacle: Kind | None = None
    count: int = 0
    references: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    section: str = ""
    legs: tuple[Facts, ...] = ()
    through: bool = False

    @property
    def intent(self) -> str:
        """What kind of sentence is needed."""
        if self.section:
            return self.section
        if self.references:
            return "choose"
        if self.side:
            return "pass_side"
        return "avoid" if self.count else "reach"


@dataclass(frozen=True)
class Phrasing:
    """A template; `when` says which scenes it fits beyond its intent."""

    id: str
    text: str
    when: tuple[tuple[str, Any], ...]

    def fits(self, facts: Facts) -> bool:
        """Whether it is true of these facts."""
        known = {"goal": facts.goal.value, "count": facts.count, "obstacle": facts.obstacle and facts.obstacle.value}
        return all(value in facts.sentences if key == "sentences" else known[key] == value for key, value in self.when)


@functools.lru_cache(maxsize=256)
def _templates(intent: str, language: str, split: str) -> tuple[Phrasing, ...]:
    entries = load_language(language).table[intent][split]
    tables = [entry if isinstance(entry, Mapping) else {"text": entry} for entry in entries]
    return tuple(
        Phrasing(
            f"{intent}.{language}.{split}.{index}",
            table["text"],
            tuple((key, table[key]) for key in CONDITIONS if key in table),
        )
        for index, table in enumerate(tables)
    )


def templates(intent: str, language: str, split: str) -> tuple[Phrasing, ...]:
    """The templates of an intent; split "all" means both.

    Raises:
        UserError: no such split or language.
    """
    load_language(language)
    if split not in (*SPLITS, "all"):
        raise UserError(f"unknown set of phrasings {split!r}; {suggest(split, (*SPLITS, 'all'))}")
    splits = SPLITS if split == "all" else (split,)
    return tuple(template for one in splits for template in _templates(intent, language, one))


def _obstacle_forms(facts: Facts, language: Language) -> list[Phrase | str]:
    if facts.obstacle is None:
        return [""]
    words, kind = language.words, facts.obstacle.value
    if facts.count == 1:
        nouns = [*words.get(kind, [])[:1], *words["obstacle"]]
    else:
        nouns = [*words["several"].get(kind, []), *words["several"]["obstacle"]]
    return [language.noun_phrase(Noun.of(noun)) for noun in nouns]


def _goal_forms(facts: Facts, language: Language, reference: str | None) -> list[Phrase]:
    kinds = [Noun.of(noun) for noun in language.words[facts.goal.value]]
    color = language.words["colors"].get(facts.color)
    if reference is None:
        colored = [language.noun_phrase(kinds[0], color)] if color else []
        return [*map(language.noun_phrase, kinds), *colored]
    patterns = language.table["reference"][reference]
    return [language.phrase(Noun.of(pattern), kinds[0], color or "") for pattern in patterns]


def _sentence(
    template: str,
    obstacle: Phrase | str,
    goal: Phrase | str,
    facts: Facts,
    language: Language,
    *,
    capital: bool = True,
) -> str:
    sides = (language.side(side.value) for side in (facts.side, facts.side.opposite)) if facts.side else ("", "")
    side, other = sides
    text = template.format(obstacle=obstacle, goal=goal, side=side, other=other, **language.number(facts.count))
    return text[:1].upper() + text[1:] if capital else text


def drawn_language(seed: int, shares: Mapping[str, float], family: str, offset: int | None = None) -> str:
    """The language of a seed's instruction: of any consecutive seeds as many in each language as promised.

    The seeds of a language lie evenly apart, at a share of 0.3 three among any ten consecutive ones. Where they begin
    depends on the offset or else the family: both sides of a family agree on a seed, two families do not always.
    """
    ordered = sorted((code for code, share in shares.items() if share > 0), reverse=True)
    ordered.sort(key=lambda code: code == "en")
    left, index = Fraction(1), seed
    for code in ordered[:-1]:
        share = min(Fraction(1), Fraction(shares[code]).limit_denominator(1000) / left)
        # Chosen among many such texts: with it the shipped suites are mixed well even when each scenario is driven only
        # a few times, and suite smoke ends as its baseline says.
        text = f"{load_language(code).name.lower()} instruction offset{family}"
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        shift = (drawn if offset is None else offset) % share.denominator
        before, after = ((index + shift + more) * share.numerator // share.denominator for more in (0, 1))
        if after > before:
            return code
        # What is left goes to the other languages by the same rule, counted without the seeds of this one.
        left, index = left * (1 - share), index + shift - before
    return ordered[-1]


def instruct(facts: Facts, rng: np.random.Generator, split: str, chosen: str) -> Instruction:
    """Draw a sentence in the chosen language.

    The draws do not depend on the side, so twins get the same sentence with the other side.
    """
    if facts.legs:
        return _instruct_route(facts, rng, split, chosen)
    # The first number once decided the language; the sentences of a seed in a language stay what they were.
    rng.random()
    language = load_language(chosen)
    reference = facts.references[int(rng.integers(len(facts.references)))] if facts.references else None
    fitting = [t for t in templates(facts.intent, chosen, split) if t.fits(facts)]
    template = fitting[int(rng.integers(len(fitting)))]
    obstacles = _obstacle_forms(facts, language)
    obstacle = obstacles[int(rng.integers(len(obstacles)))]
    goals = _goal_forms(facts, language, reference)
    goal = goals[int(rng.integers(len(goals)))]
    text = _sentence(template.text, obstacle, goal, facts, language)
    name = f"{template.id}.{reference}" if reference and "{goal" in template.text else template.id
    return Instruction(text=text, language=chosen, split=template.id.split(".")[2], phrasing=name)


def _instruct_route(facts: Facts, rng: np.random.Generator, split: str, chosen: str) -> Instruction:
    """A sentence of several legs: a part for each, one after the other."""
    language = load_language(chosen)
    side = split if split != "all" else SPLITS[int(rng.integers(2))]
    parts, chosen_parts = language.table[ROUTE][side], []
    texts = []
    for number, leg in enumerate(facts.legs):
        part = "last" if number + 1 == len(facts.legs) else "to" if leg.references else "past"
        part = THROUGH if leg.through else part
        index = int(rng.integers(len(parts[part])))
        reference = leg.references[int(rng.integers(len(leg.references)))] if leg.references else None
        forms = _goal_forms(leg, language, reference) if reference else _obstacle_forms(leg, language)
        form = forms[int(rng.integers(len(forms)))]
        texts.append(_sentence(parts[part][index], form, form, leg, language, capital=number == 0))
        chosen_parts.append(f"{part}{index}")
    name = f"{ROUTE}.{chosen}.{side}.{'-'.join(chosen_parts)}"
    return Instruction(text=" ".join(texts), language=chosen, split=side, phrasing=name)


def _route_sentences(facts: Facts, split: str, language: str) -> Iterator[str]:
    """Many of the sentences of several legs: all would be thousands. Those of twins are each other's mirror images."""
    if facts.side is not Side.RIGHT:
        yield from _some_routes(facts, split, language)
    if facts.side is not Side.LEFT:
        turned = replace(_turned(facts), legs=tuple(map(_turned, facts.legs)))
        yield from (mirrored(text, language) for text in _some_routes(turned, split, language))


def _some_routes(facts: Facts, split: str, language: str) -> Iterator[str]:
    drawn = (
        _instruct_route(facts, np.random.default_rng(number), split, language) for number in range(ROUTE_SENTENCES)
    )
    yield from dict.fromkeys(instruction.text for instruction in drawn)


def _turned(facts: Facts) -> Facts:
    """The facts of a leg in the mirror."""
    places = {"left": "right", "right": "left"}
    references = tuple(sorted((places.get(r, r) for r in facts.references), key=REFERENCES.index))
    return replace(facts, side=facts.side.opposite if facts.side else None, references=references)


def sentences(facts: Facts, split: str, language: str | None) -> Iterator[str]:
    """Every sentence that `instruct` could draw for these facts; without a language, in all that have a share.

    Of several legs, `ROUTE_SENTENCES` at most.
    """
    for code in usual_shares() if language is None else (language,):
        if facts.legs:
            yield from _route_sentences(facts, split, code)
            continue
        one = load_language(code)
        fitting = [t for t in templates(facts.intent, code, split) if t.fits(facts)]
        for reference in facts.references or (None,):
            goals = _goal_forms(facts, one, reference)
            for template, obstacle, goal in itertools.product(fitting, _obstacle_forms(facts, one), goals):
                yield _sentence(template.text, obstacle, goal, facts, one)


def mirrored(text: str, language: str = "") -> str:
    """A sentence with every left and right exchanged; of no known language: in each that there is."""
    for code in (language,) if language in language_codes() else language_codes():
        text = load_language(code).mirrored(text)
    return text


def opposite(scene: Scene) -> Scene | None:
    """The same world with the other side asked for in the same words; None when no side is asked for.

    It carries the name of its twin ("obstacle_left" becomes "obstacle_right"), and equals what that would sample; the
    scene of a scenario without a twin keeps its name.
    """
    side = scene.task.side
    if side is None:
        return None
    instruction = scene.instruction
    return replace(
        scene,
        scenario=scene.twin or scene.scenario,
        twin=scene.scenario if scene.twin else "",
        task=replace(scene.task, side=side.opposite),
        changes=tuple(replace(c, task=replace(c.task, side=c.task.side and side.opposite)) for c in scene.changes),
        instruction=replace(instruction, text=mirrored(instruction.text, instruction.language)),
    )
