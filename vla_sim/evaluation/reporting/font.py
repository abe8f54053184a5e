"""The one font of films: it has Latin letters and Hangul; file and licence lie in `fonts/`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FILE = Path(__file__).parent / "fonts" / "sans_hangul.ttf"  # made by recipes/font.py
UNKNOWN = "\U0010fffe"


def font_for(text: str, size_px: int) -> tuple[FreeTypeFont, str]:
    """The font of that size and the text to draw with it: characters that it lacks are spelled as code points."""
    font = _font(size_px)
    return font, "".join(c if c == "\n" or _has(c) else f"<U+{ord(c):04X}>" for c in text)


@cache
def _font(size_px: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(FILE, size_px)


@cache
def _has(character: str) -> bool:
    """Whether the font draws the character as anything but the sign for a missing one."""
    if character.isascii():
        return character.isprintable()
    font = _font(20)
    missing, drawn = font.getmask(UNKNOWN), font.getmask(character)
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
