"""Fonts for drawing on videos: one that has the characters of a text, or a text that a font can show.

Nothing is bundled. Latin text uses the DejaVu Sans that comes with matplotlib; Korean needs a font of the
system (for example the package `fonts-nanum` or `fonts-noto-cjk`), or a file named by VLA_SIM_FONT. Without
one the text is spelled in Latin letters and says so, rather than in empty boxes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONT_VARIABLE = "VLA_SIM_FONT"
NOTE = " [no font for it here]"

# Where systems keep fonts with Hangul, best looking first.
_KOREAN_FILES = (
    "/usr/share/fonts/truetype/nanum/NanumGothic.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/unfonts-core/UnDotum.ttf",
    "/usr/share/fonts/truetype/baekmuk/dotum.ttf",
    "/System/Library/Fonts/AppleSDGothicNeo.ttc",
    "C:/Windows/Fonts/malgun.ttf",
)


def font_for(text: str, size_px: int, *, bold: bool = False) -> tuple[FreeTypeFont, str]:
    """A font of that size and the text to draw with it.

    The text comes back as it is where some font has all its characters; otherwise what is missing is
    spelled in Latin letters or as code points and `NOTE` is added.
    """
    latin = _load(_latin_file(bold), size_px) or _built_in(size_px)
    if _has_all(latin, text):
        return latin, text
    for file in (os.environ.get(FONT_VARIABLE, ""), *_korean_files()):
        font = _load(file, size_px) if file and Path(file).is_file() else None
        if font is not None and _has_all(font, text):
            return font, text
    shown = "".join(c if _has_all(latin, c) else _spelled(c) for c in text)
    return latin, shown + NOTE


@cache
def _load(file: str, size_px: int) -> FreeTypeFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(file, size_px)
    except OSError:
        return None


@cache
def _built_in(size_px: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)  # type: ignore[return-value]


@cache
def _latin_file(bold: bool) -> str:
    spec = importlib.util.find_spec("matplotlib")  # found, not imported
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
        if file.is_file():
            return str(file)
    return ""


@cache
def _korean_files() -> tuple[str, ...]:
    """Files that exist, and those that fontconfig knows to have Korean."""
    return tuple(file for file in (*_KOREAN_FILES, *_ask_fontconfig()) if Path(file).is_file())


def _ask_fontconfig() -> list[str]:
    try:
        done = subprocess.run(
            ["fc-list", ":lang=ko", "--format=%{file}\n"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted(done.stdout.split("\n"))


def _has_all(font: FreeTypeFont, text: str) -> bool:
    return all(_has(font, c) for c in set(text) if not c.isspace())


@cache
def _has(font: FreeTypeFont, character: str) -> bool:
    """Whether the font draws the character as anything but the sign for a missing one."""
    if character.isascii():
        return character.isprintable()
    missing = font.getmask("\U0010fffe")
    drawn = font.getmask(character)
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


# Revised Romanization, letter by letter: no sound changes across syllables, but readable.
_INITIALS = ("g", "kk", "n", "d", "tt", "r", "m", "b", "pp", "s", "ss", "", "j", "jj", "ch", "k", "t", "p", "h")
_VOWELS = (
    "a",
    "ae",
    "ya",
    "yae",
    "eo",
    "e",
    "yeo",
    "ye",
    "o",
    "wa",
    "wae",
    "oe",
    "yo",
    "u",
    "wo",
    "we",
    "wi",
    "yu",
    "eu",
    "ui",
    "i",
)
_FINALS = (
    "",
    "k",
    "k",
    "k",
    "n",
    "n",
    "n",
    "t",
    "l",
    "k",
    "m",
    "l",
    "l",
    "l",
    "p",
    "l",
    "m",
    "p",
    "p",
    "t",
    "t",
    "ng",
    "t",
    "t",
    "k",
    "t",
    "p",
    "t",
)


def romanise(text: str) -> str:
    """Hangul syllables in Latin letters; every other character as it is."""
    return "".join(_spelled(c) if "가" <= c <= "힣" else c for c in text)


def in_latin(text: str) -> str:
    """A Korean text in Latin letters, for those who cannot read or show it; "" where nothing of it is Korean."""
    if not any("가" <= character <= "힣" for character in text):
        return ""
    return "".join(_spelled(c) if "가" <= c <= "힣" else c for c in text)


def _spelled(character: str) -> str:
    if not "가" <= character <= "힣":
        return f"<U+{ord(character):04X}>"
    rest, final = divmod(ord(character) - ord("가"), 28)
    initial, vowel = divmod(rest, 21)
    return _INITIALS[initial] + _VOWELS[vowel] + _FINALS[final]
