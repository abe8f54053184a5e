"""The one font of films and pages: it has Latin letters and Hangul; file and licence lie in `fonts/`."""

from __future__ import annotations

import base64
import io
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


def embedded(text: str) -> str:
    """The font's Hangul syllables of a text as the data of a web font, base64; "" for a text without any.

    For pages: a browser may lack a font with Hangul.
    """
    syllables = {ord(c) for c in text if "가" <= c <= "힣"}
    if not syllables:
        return ""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    font = TTFont(FILE, recalcTimestamp=False)
    reducer = subset.Subsetter(subset.Options(hinting=False, layout_features=[]))
    reducer.populate(unicodes=syllables)
    reducer.subset(font)
    buffer = io.BytesIO()
    font.save(buffer)
    return base64.b64encode(buffer.getvalue()).decode()
