"""Languages by file: the sentences of `scenarios/languages/CODE.toml`, its words, and how both are put together.

A file is all there is to a language: what its nouns look like in which case, what follows them, what becomes what in a
mirror, its part of the instructions. `vla_sim.scenarios.language` draws from it; docs/languages.md describes the keys.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_sim.core.config import shown
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.toml_files import read_toml
from vla_sim.core.types import NAMED_KINDS

FOLDER = "languages"
# Section of the parts that sentences of several legs are made of.
ROUTE = "route"
LEG_PARTS = ("past", "through", "to", "last")
# Section that a scenario names beside ROUTE where it uses the part about doorways.
THROUGH = "through"
FORMAT = 1
SPLITS = ("train", "eval")
INTENTS = ("pass_side", "avoid", "reach", "choose")
# Sentences for which standing still is the right answer.
REFUSALS = ("contradiction", "stop", "nothing")
# Ways to say which of several objects is meant; the last three by place, as the robot sees them from its start.
REFERENCES = ("kind", "color", "color_kind", "left", "middle", "right")
CONDITIONS = ("goal", "obstacle", "count", "sentences")
# Words that every language needs a noun for.
NOUNS = ("obstacle", *(kind.value for kind in NAMED_KINDS))
# Of these a hash of the first version's scenarios is made: what came later counts only where it is used.
FIRST_LANGUAGES = ("en", "ko")
FIRST_NOUNS = ("box", "cup", "bottle", "pot", "basket", "obstacle")
FIRST_WORDS = (*FIRST_NOUNS, "left", "right", "several", "colors")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase in all of its forms.

    Attributes:
        forms: text by case; the first is that of `{goal}` without a case.
        endings: puts one of the language's endings behind a text, by name.
    """

    forms: Mapping[str, str]
    endings: Mapping[str, Callable[[str], str]]

    def __str__(self) -> str:
        return next(iter(self.forms.values()))

    def __format__(self, spec: str) -> str:
        if spec in self.endings:
            return self.endings[spec](str(self))
        if spec and spec not in self.forms:
            raise KeyError(spec)
        return self.forms[spec] if spec else str(self)


@dataclass(frozen=True)
class Noun:
    """A word for a thing, or a whole pattern such as "the {color} one".

    Attributes:
        text: the word or pattern.
        cls: class by which articles and endings agree, e.g. a gender; "" where the language has none.
        cases: its text in cases where it is another one.
    """

    text: str
    cls: str = ""
    cases: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, entry: Any) -> Noun:
        """From a file: a text, or a table { text = ..., class = ..., CASE = ... }."""
        if isinstance(entry, str):
            return cls(entry)
        cases = {key: value for key, value in entry.items() if key not in ("text", "class")}
        return cls(entry["text"], entry.get("class", ""), tuple(cases.items()))

    def in_case(self, case: str) -> str:
        """Its text in a case."""
        return dict(self.cases).get(case, self.text)


class Language:
    """One language.

    Attributes:
        code: e.g. "en", the name of its file.
        name: e.g. "English".
        share: its part of the instructions where a scenario says nothing.
        table: the content of its file.
    """

    def __init__(self, code: str, table: Mapping[str, Any]) -> None:
        self.code, self.table = code, table
        self.name, self.share = str(table["name"]), float(table.get("share", 0))
        self._agreement: Mapping[str, Any] = table.get("agreement", {})
        rules = table.get("endings", {})
        self._endings = {name: functools.partial(_with_ending, rule) for name, rule in rules.items()}

    @property
    def words(self) -> Mapping[str, Any]:
        """Nouns by kind, sides, and the tables `several` and `colors`."""
        found: Mapping[str, Any] = self.table["words"]
        return found

    def cases(self) -> tuple[str, ...]:
        """Names of its cases; one without a name where it has none."""
        return tuple(next(iter(self._agreement.values()), {"": {}}))

    def phrase(self, pattern: Noun, noun: Noun | None = None, color: str = "") -> Phrase:
        """A noun phrase: the pattern with noun, colour and the words that agree with its class, in every case."""
        cls = pattern.cls or (noun.cls if noun else "")
        forms = {}
        for case in self.cases():
            agreeing = self._agreement.get(cls, {}).get(case, {})
            word = noun.in_case(case) if noun else ""
            forms[case] = pattern.in_case(case).format(noun=word, kind=word, color=color, **agreeing)
        return Phrase(forms, self._endings)

    def noun_phrase(self, noun: Noun, color: str = "") -> Phrase:
        """A noun with its article, perhaps with a colour: "the cup", "the red cup"."""
        return self.phrase(Noun(self.table["phrase"]["colored" if color else "plain"]), noun, color)

    def number(self, count: int) -> Mapping[str, str]:
        """Fillers that depend on the number of obstacles."""
        found: Mapping[str, str] = self.table.get("number", {}).get("several" if count > 1 else "one", {})
        return found

    def side(self, side: str) -> Phrase:
        """The word for a side; one that has several forms has them by name: "{side:dat}"."""
        word = self.words[side]
        return Phrase({"": word} if isinstance(word, str) else word, self._endings)

    def mirrored(self, text: str) -> str:
        """The text with every left and right exchanged."""
        pattern, others = self._mirror
        if pattern is None:
            return text

        def other(match: re.Match[str]) -> str:
            word = others[match[0].lower()]
            return word.capitalize() if match[0][0].isupper() else word

        return pattern.sub(other, text)

    @functools.cached_property
    def _mirror(self) -> tuple[re.Pattern[str] | None, dict[str, str]]:
        swaps = self.table.get("swaps", {})
        others = {one: other for pairs in swaps.values() for pair in pairs for one, other in (pair, pair[::-1])}

        def alternatives(key: str) -> str:
            listed = sorted({word for pair in swaps.get(key, ()) for word in pair}, key=len, reverse=True)
            return "|".join(map(re.escape, listed))

        words, parts = alternatives("words"), alternatives("parts")
        found = [*([rf"\b(?:{words})\b"] if words else []), *([parts] if parts else [])]
        return (re.compile("|".join(found), re.IGNORECASE) if found else None), others

    @property
    def side_words(self) -> tuple[str, ...]:
        """All words that a mirror exchanges."""
        return tuple(self._mirror[1])


def _with_ending(rules: Iterable[Mapping[str, str]], text: str) -> str:
    letters = unicodedata.normalize("NFD", text)
    fitting = (rule["put"] for rule in rules if re.search(f"(?:{rule.get('after', '')})$", letters))
    return text + next(fitting, "")


def language_codes() -> tuple[str, ...]:
    """All languages that have a file."""
    return _codes_in(content_folder("scenarios") / FOLDER)


@functools.lru_cache(maxsize=4)
def _codes_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def check_language(code: Any) -> None:
    """Refuse what is no language.

    Raises:
        UserError: with the nearest one.
    """
    if code not in language_codes():
        raise UserError(f"unknown language {shown(code)}; {suggest(str(code), language_codes())}")


def load_language(code: str) -> Language:
    """A language by its code.

    Raises:
        UserError: there is none (with the nearest), or its file is wrong.
    """
    check_language(code)
    return _loaded(content_folder("scenarios") / FOLDER / f"{code}.toml")


@functools.lru_cache(maxsize=32)
def _loaded(path: Path) -> Language:
    return read_language(path)


def letters() -> set[str]:
    """Every character that a language's file is written with, in small and capital."""
    written = "".join(json.dumps(load_language(code).table, ensure_ascii=False) for code in language_codes())
    return set(written) | set(written.upper())


def usual_shares() -> dict[str, float]:
    """Part of the instructions by language, where a scenario says nothing; those without one are left out."""
    found = {code: load_language(code).share for code in language_codes()}
    return {code: share for code, share in found.items() if share > 0}


def read_language(path: Path) -> Language:
    """The language of a file.

    Raises:
        UserError: something is missing or a sentence cannot be filled; names file and sentence.
    """
    table = read_toml(path)
    if table.get("format") != FORMAT:
        raise UserError(f"{path}: format must be {FORMAT}, got {shown(table.get('format'))}")
    _check_grammar(path, table)
    for word in ("left", "right", *NOUNS):
        if not table.get("words", {}).get(word):
            raise UserError(f"{path}: words.{word} is missing")
    language = Language(path.stem, table)
    for intent in (*INTENTS, *REFUSALS):
        for split in SPLITS:
            _check_sentences(language, path, intent, split)
    for split in SPLITS:
        _check_route(language, path, split)
    return language


def _check_route(language: Language, path: Path, split: str) -> None:
    parts = language.table.get(ROUTE, {}).get(split)
    if not isinstance(parts, Mapping) or sorted(parts) != sorted(LEG_PARTS):
        raise UserError(f"{path}: {ROUTE}.{split} must hold {', '.join(LEG_PARTS)}, got {shown(parts)}")
    for part, entries in parts.items():
        for entry in entries if isinstance(entries, list) and entries else [None]:
            intent = {"past": "pass_side", "through": THROUGH}.get(part, "reach")
            problem = _problem(language, entry, intent)
            if problem:
                raise UserError(f"{path}: {ROUTE}.{split}.{part}: {problem} in {entry!r}")


def _check_grammar(path: Path, table: Mapping[str, Any]) -> None:
    """What the sentences are put together by."""
    for key in ("plain", "colored"):
        if not isinstance(table.get("phrase", {}).get(key), str):
            raise UserError(f"{path}: phrase.{key} must be a text such as 'the {{noun}}'")
    if not isinstance(table.get("name"), str):
        raise UserError(f"{path}: name must be a text, got {shown(table.get('name'))}")
    share = table.get("share", 0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise UserError(f"{path}: share must be a number between 0 and 1, got {shown(share)}")
    for name, rules in table.get("endings", {}).items():
        for rule in rules:
            try:
                re.compile(rule.get("after", ""))
            except re.error as error:
                raise UserError(f"{path}: endings.{name}: {rule['after']!r} is no pattern: {error}") from error


def _check_sentences(language: Language, path: Path, intent: str, split: str) -> None:
    entries = language.table.get(intent, {}).get(split)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: {intent}.{split} must be a list of sentences, got {entries!r}")
    for entry in entries:
        problem = _problem(language, entry, intent)
        if problem:
            raise UserError(f"{path}: {intent}.{split}: {problem} in {entry!r}")


def _problem(language: Language, entry: Any, intent: str) -> str | None:
    """What is wrong with a sentence; None when it can be filled."""
    if not isinstance(entry, (str, Mapping)):
        return "neither a text nor a table"
    content = {"text": entry} if isinstance(entry, str) else entry
    unknown = [key for key in content if key not in ("text", *CONDITIONS)]
    if unknown:
        return f"unknown key {unknown[0]!r}; {suggest(unknown[0], ('text', *CONDITIONS))}"
    fillers = _example_fillers(language, intent)
    try:
        text = str(content.get("text", "")).format(**fillers)
    except KeyError as error:
        return f"unknown filler, case or ending {error}; {suggest(str(error.args[0]), fillers)}"
    except (ValueError, IndexError) as error:
        return str(error)
    return None if text or intent == "nothing" else "no text"


def _example_fillers(language: Language, intent: str) -> dict[str, Any]:
    if intent in ("nothing", THROUGH):
        return {}
    cup = language.noun_phrase(Noun.of(language.words["cup"][0]))
    fillers: dict[str, Any] = {"goal": cup}
    if intent in ("pass_side", "avoid", "contradiction"):
        fillers |= {"obstacle": cup, **language.number(1)}
    if intent in ("pass_side", "contradiction"):
        fillers["side"] = language.side("left")
    if intent == "contradiction":
        fillers["other"] = language.side("right")
    return fillers


@functools.lru_cache(maxsize=256)
def sentences_hash(codes: tuple[str, ...], intents: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> str:
    """Hash of the sentences and words of some languages: part of what a scenario is.

    Args:
        codes: the languages that it can speak.
        intents: sections that it uses beside the first version's.
        kinds: of what it can name; words for those that came later count only here.
    """
    content: dict[str, Any] = {}
    spoken = sorted({*codes, *FIRST_LANGUAGES})
    for section in (*INTENTS, "reference", *sorted(set(intents) - {*INTENTS, THROUGH})):
        content[section] = {code: load_language(code).table.get(section, {}) for code in spoken}
    if ROUTE in content and THROUGH not in intents:
        content[ROUTE] = {code: _without_doorways(route) for code, route in content[ROUTE].items()}
    content["words"] = {code: _hashed_words(load_language(code).words, kinds) for code in spoken}
    for code in sorted(set(codes) - set(FIRST_LANGUAGES)):
        content[f"all of {code}"] = dict(load_language(code).table)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _without_doorways(route: Mapping[str, Any]) -> dict[str, Any]:
    return {split: {key: part for key, part in parts.items() if key != THROUGH} for split, parts in route.items()}


def _hashed_words(words: Mapping[str, Any], kinds: Iterable[str]) -> dict[str, Any]:
    kept = {*FIRST_WORDS, *kinds}
    several = {key: value for key, value in words.get("several", {}).items() if key in {*FIRST_NOUNS, *kinds}}
    return {key: several if key == "several" else value for key, value in words.items() if key in kept}
