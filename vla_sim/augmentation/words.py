"""Words of instructions and names: mirrored, and varied without losing their meaning. numpy only."""

from __future__ import annotations

import re

import numpy as np

from vla_sim.scenarios.languages import language_codes, load_language

# Words that say which object is meant or what to do: never dropped or garbled. Matched anywhere in a word.
KEPT_WORDS = (
    *("left", "right", "왼", "오른", "좌", "우", "stop", "not", "avoid", "away", "정지", "멈", "말고", "마세요"),
    *(
        "box",
        "crate",
        "carton",
        "cup",
        "mug",
        "bottle",
        "jar",
        "pot",
        "plant",
        "flower",
        "basket",
        "bin",
        "hamper",
        "wall",
    ),
    *("상자", "박스", "컵", "잔", "병", "화분", "바구니", "벽"),
    *("red", "green", "blue", "yellow", "orange", "purple", "white", "black", "brown", "gray", "grey", "pink", "cyan"),
    *("빨", "초록", "녹", "파란", "파랑", "노란", "노랑", "주황", "보라", "흰", "하얀", "검", "갈색", "회색", "분홍"),
    *(
        "near",
        "far",
        "close",
        "middle",
        "center",
        "centre",
        "between",
        "first",
        "second",
        "가운데",
        "중앙",
        "먼",
        "가까",
    ),
)

# Also where it only means "just", as in "right in front": "turn right now" must never be missed.
_ENGLISH = re.compile(r"(?<![a-z])(left|right)(?=(?:most|wards?|hand|side)?(?![a-z]))", re.IGNORECASE)
_TURN = re.compile(r"\b((?:counter|anti)[- ]?)?clockwise\b|(반)?시계\s?방향", re.IGNORECASE)
_LETTER = re.compile(r"(?<![A-Za-z0-9'])([LR])(?![A-Za-z0-9'])")
_KOREAN = re.compile(
    r"(왼|오른)(?=\s?(?:쪽|편|손|켠|방향|길|발|팔))|(?<![좌우])(좌|우)(?=측|회전|방향)"
    r"|(?<![가-힣])(좌|우)(?=로(?![가-힣])|편(?!함|물|번호|국))|(?<=최)(좌|우)(?=측|단)"
)
_NAME_WORD = re.compile(r"(?<![A-Za-z])(left|right)(?![A-Za-z])", re.IGNORECASE)
_OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l", "왼": "오른", "오른": "왼", "좌": "우", "우": "좌"}


# Languages whose sides need more than the words that their files exchange.
_OWN_RULES = ("en", "ko")


def mirror_text(text: str) -> str:
    """The instruction for the mirrored image: every left becomes right and the other way round.

    English and Korean have rules for all their words, other languages those of their files.

    Applying it twice gives the text again.

    >>> mirror_text("Pass the leftmost box on its Right, 왼쪽으로")
    'Pass the rightmost box on its Left, 오른쪽으로'
    """
    for pattern in (_ENGLISH, _LETTER, _KOREAN):
        text = pattern.sub(lambda match: _cased(_OPPOSITE[match[0].lower()], like=match[0]), text)
    for code in language_codes():
        if code not in _OWN_RULES:
            text = load_language(code).mirrored(text)
    return _TURN.sub(_other_turn, text)


def _other_turn(match: re.Match[str]) -> str:
    found = match[0]
    if "계" in found:
        return found.removeprefix("반") if match[2] else f"반{found}"
    return _cased("clockwise" if match[1] else "counterclockwise", like=found)


def _cased(word: str, *, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


def vary_text(text: str, rng: np.random.Generator, *, share: float = 0.08) -> str:
    """The instruction with some words dropped or garbled and its punctuation perhaps gone, its meaning kept.

    A policy that has seen garbled words relies on those that matter, and meets new phrasings with less surprise.

    Args:
        text: an instruction.
        rng: where chance comes from.
        share: probability, for each word that does not matter, of being dropped, and again of being garbled.
    """
    words = []
    for word in text.split():
        chance = rng.random()
        if chance >= 2 * share or any(kept in word.lower() for kept in KEPT_WORDS):
            words.append(word)
        elif chance >= share:
            words.append(_garbled(word, rng))
    varied = " ".join(words)
    return varied.rstrip(".!?") if rng.random() < 0.3 else varied


def _garbled(word: str, rng: np.random.Generator) -> str:
    """As many letters, drawn at random from the same script."""
    first, last = ("가", "힣") if any("가" <= letter <= "힣" for letter in word) else ("a", "z")
    return "".join(chr(code) for code in rng.integers(ord(first), ord(last) + 1, size=len(word)))


def mirror_name(name: str) -> str:
    """A name whose words stand between underscores or dots, seen in a mirror; applying it twice gives it again.

    >>> mirror_name("obstacle_left")
    'obstacle_right'
    """
    return _NAME_WORD.sub(lambda match: _cased(_OPPOSITE[match[0].lower()], like=match[0]), name)
