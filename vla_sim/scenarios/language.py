"""Instructions: sentences made from what is in a world and what is asked, so that text and world cannot disagree.

The sentences are content: `scenarios/phrasings.toml`. Drawn ones name their template, e.g. "pass_side.en.eval.2".
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.toml_files import read_toml
from vla_sim.core.types import MOVING_KINDS, Instruction, Kind, Scene, Side

LANGUAGES = ("en", "ko")
SPLITS = ("train", "eval")
INTENTS = ("pass_side", "avoid", "reach", "choose")
# Ways to say which of several objects is meant; the last three by place, as the robot sees them from its start.
REFERENCES = ("kind", "color", "color_kind", "left", "middle", "right")
CONDITIONS = ("goal", "obstacle", "count", "sentences")
PHRASINGS_FILE = "phrasings.toml"
# Words that every language needs a noun for.
NOUNS = ("obstacle", *(kind.value for kind in Kind if kind not in (Kind.WALL, *MOVING_KINDS)))

SWAPS = {"left": "right", "leftmost": "rightmost", "왼쪽": "오른쪽"}
_SWAPS = {**SWAPS, **{there: here for here, there in SWAPS.items()}}
_SIDE_WORDS = re.compile(r"\b(leftmost|rightmost|left|right)\b|왼쪽|오른쪽", re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """What a sentence may say about a world.

    Attributes:
        side: side that is asked for.
        obstacle, count: kind and number of the obstacles.
        goal, color: kind and colour name of the goal.
        references: ways to tell the goal from other objects without doubt; empty when it is the only one.
        sentences: optional sets of sentences that fit this family.
    """

    goal: Kind
    color: str
    side: Side | None = None
    obstacle: Kind | None = None
    count: int = 0
    references: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def intent(self) -> str:
        """What kind of sentence is needed."""
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


class _Noun(str):
    """Text whose Korean particle is chosen by its last syllable: `{goal:을}` gives 컵을, 바구니를."""

    PARTICLES: Mapping[str, tuple[str, str]] = {
        "을": ("을", "를"),
        "은": ("은", "는"),
        "이": ("이", "가"),
        "과": ("과", "와"),
        "로": ("으로", "로"),
    }

    def __format__(self, particle: str) -> str:
        if not particle:
            return str(self)
        closed, open_ = self.PARTICLES[particle]
        final = (ord(self[-1]) - 0xAC00) % 28
        rieul = 8
        return self + (open_ if final == 0 or (particle == "로" and final == rieul) else closed)


@functools.lru_cache(maxsize=1)
def phrasings() -> dict[str, Any]:
    """The shipped sentences and words, checked."""
    return read_phrasings(content_folder("scenarios") / PHRASINGS_FILE)


def read_phrasings(path: Path) -> dict[str, Any]:
    """Sentences and words of a file.

    Raises:
        UserError: something is missing or a sentence cannot be filled; names file and sentence.
    """
    table = read_toml(path)
    for intent, language, split in itertools.product(INTENTS, LANGUAGES, SPLITS):
        entries = table.get(intent, {}).get(language, {}).get(split)
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{path}: {intent}.{language}.{split} must be a list of sentences, got {entries!r}")
        for entry in entries:
            problem = _problem(entry, intent)
            if problem:
                raise UserError(f"{path}: {intent}.{language}.{split}: {problem} in {entry!r}")
    for language, word in itertools.product(LANGUAGES, ("left", "right", *NOUNS)):
        if not table.get("words", {}).get(language, {}).get(word):
            raise UserError(f"{path}: words.{language}.{word} is missing")
    return table


def _problem(entry: Any, intent: str) -> str | None:
    """What is wrong with a sentence; None when it can be filled."""
    if not isinstance(entry, (str, Mapping)):
        return "neither a text nor a table"
    content = {"text": entry} if isinstance(entry, str) else entry
    unknown = [key for key in content if key not in ("text", *CONDITIONS)]
    if unknown:
        return f"unknown key {unknown[0]!r}; {suggest(unknown[0], ('text', *CONDITIONS))}"
    fillers = {
        "goal": _Noun("컵"),
        **({} if intent in ("reach", "choose") else {"obstacle": _Noun("컵"), **_pronoun(1)}),
    }
    if intent == "pass_side":
        fillers["side"] = _Noun("왼쪽")
    try:
        text = str(content.get("text", "")).format(**fillers)
    except KeyError as error:
        return f"unknown filler or particle {error}; {suggest(str(error.args[0]), fillers)}"
    except (ValueError, IndexError) as error:
        return str(error)
    return None if text else "no text"


@functools.lru_cache(maxsize=1)
def phrasings_hash() -> str:
    """Hash of the sentences and words: part of what a scenario is."""
    return hashlib.sha256(json.dumps(phrasings(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@functools.lru_cache(maxsize=64)
def _templates(intent: str, language: str, split: str) -> tuple[Phrasing, ...]:
    entries = phrasings()[intent][language][split]
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
    if language not in LANGUAGES:
        raise UserError(f"unknown language {language!r}; {suggest(language, LANGUAGES)}")
    if split not in (*SPLITS, "all"):
        raise UserError(f"unknown set of phrasings {split!r}; {suggest(split, (*SPLITS, 'all'))}")
    splits = SPLITS if split == "all" else (split,)
    return tuple(template for one in splits for template in _templates(intent, language, one))


def _article(language: str) -> str:
    return "the " if language == "en" else ""


def _obstacle_forms(facts: Facts, language: str) -> list[_Noun]:
    if facts.obstacle is None:
        return [_Noun("")]
    words = phrasings()["words"][language]
    if facts.count == 1:
        nouns = [*words[facts.obstacle.value][:1], *words["obstacle"]]
    else:
        nouns = [*words["several"][facts.obstacle.value], *words["several"]["obstacle"]]
    return [_Noun(_article(language) + noun) for noun in nouns]


def _goal_forms(facts: Facts, language: str, reference: str | None) -> list[_Noun]:
    words = phrasings()["words"][language]
    kinds = words[facts.goal.value]
    color = words["colors"].get(facts.color)
    if reference is None:
        colored = [f"{color} {kinds[0]}"] if color else []
        return [_Noun(_article(language) + noun) for noun in (*kinds, *colored)]
    forms = phrasings()["reference"][language][reference]
    return [_Noun(form.format(kind=kinds[0], color=color)) for form in forms]


def _sentence(template: str, obstacle: _Noun, goal: _Noun, facts: Facts, language: str) -> str:
    side = phrasings()["words"][language][facts.side.value] if facts.side else ""
    text = template.format(obstacle=obstacle, goal=goal, side=side, **_pronoun(facts.count))
    return text[0].upper() + text[1:]


def _pronoun(count: int) -> dict[str, str]:
    return {"it": "them", "stands": "stand"} if count > 1 else {"it": "it", "stands": "stands"}


def drawn_language(seed: int, korean_share: float, family: str) -> str:
    """The language of a seed's instruction: of any consecutive seeds as many are Korean as promised.

    Korean seeds lie evenly apart, at a share of 0.3 three among any ten consecutive ones. Where they begin depends on
    the family: both sides of a family agree on a seed, two families do not always.
    """
    share = Fraction(korean_share).limit_denominator(1000)
    # Chosen among many such texts: with it the shipped suites are mixed well even when each scenario is driven only a
    # few times, and suite smoke ends as its baseline says.
    text = f"korean instruction offset{family}"
    shift = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % share.denominator
    before, after = ((seed + shift + more) * share.numerator // share.denominator for more in (0, 1))
    return "ko" if after > before else "en"


def instruct(facts: Facts, rng: np.random.Generator, split: str, chosen: str) -> Instruction:
    """Draw a sentence in the chosen language.

    The draws do not depend on the side, so twins get the same sentence with the other side.
    """
    # The first number once decided the language; the sentences of a seed in a language stay what they were.
    rng.random()
    reference = facts.references[int(rng.integers(len(facts.references)))] if facts.references else None
    fitting = [t for t in templates(facts.intent, chosen, split) if t.fits(facts)]
    template = fitting[int(rng.integers(len(fitting)))]
    obstacle = _drawn(_obstacle_forms(facts, chosen), rng)
    goal = _drawn(_goal_forms(facts, chosen, reference), rng)
    text = _sentence(template.text, obstacle, goal, facts, chosen)
    name = f"{template.id}.{reference}" if reference else template.id
    return Instruction(text=text, language=chosen, split=template.id.split(".")[2], phrasing=name)


def _drawn(forms: Sequence[_Noun], rng: np.random.Generator) -> _Noun:
    return forms[int(rng.integers(len(forms)))]


def sentences(facts: Facts, split: str, language: str | None) -> Iterator[str]:
    """Every sentence that `instruct` could draw for these facts."""
    for one in LANGUAGES if language is None else (language,):
        fitting = [t for t in templates(facts.intent, one, split) if t.fits(facts)]
        for reference in facts.references or (None,):
            goals = _goal_forms(facts, one, reference)
            for template, obstacle, goal in itertools.product(fitting, _obstacle_forms(facts, one), goals):
                yield _sentence(template.text, obstacle, goal, facts, one)


def _swapped(match: re.Match[str]) -> str:
    word = match.group(0)
    other = _SWAPS[word.lower()]
    return other.capitalize() if word[0].isupper() else other


def opposite(scene: Scene) -> Scene | None:
    """The same world with the other side asked for in the same words; None when no side is asked for.

    It carries the name of its twin ("obstacle_left" becomes "obstacle_right"), and equals what that would sample; the
    scene of a scenario without a twin keeps its name.
    """
    if scene.task.side is None:
        return None
    return replace(
        scene,
        scenario=scene.twin or scene.scenario,
        twin=scene.scenario if scene.twin else "",
        task=replace(scene.task, side=scene.task.side.opposite),
        instruction=replace(scene.instruction, text=_SIDE_WORDS.sub(_swapped, scene.instruction.text)),
    )
