import base64
import io
import itertools

import pytest
from PIL import ImageFont

from vla_sim.core.font import FILE, embedded, font_for
from vla_sim.scenarios.languages import language_codes, load_language


def texts(node):
    if isinstance(node, str):
        return [node]
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return list(itertools.chain.from_iterable(texts(value) for value in values))


def test_every_character_of_every_instruction_is_in_the_font():
    tables = [load_language(code).table for code in language_codes()]
    # All but the patterns that endings are chosen by.
    written = "".join(texts([value for table in tables for key, value in table.items() if key != "endings"]))
    assert any("가" <= c <= "힣" for c in written)
    assert font_for(written, 20)[1] == written


@pytest.mark.parametrize("text", ["Pass the box · “left” × 2 …", "상자 왼쪽", "값뷁힣", "naïve Straße", "α → β"])
def test_latin_and_hangul_come_back_as_they_are_and_are_drawn(text):
    font, shown = font_for(text, 20)
    assert shown == text
    assert font.getmask(shown).getbbox() is not None


@pytest.mark.parametrize(
    ("text", "shown"), [("箱 A", "<U+7BB1> A"), ("a\x1b[31m", "a<U+001B>[31m"), ("🤖", "<U+1F916>")]
)
def test_other_characters_are_spelled_as_code_points(text, shown):
    assert font_for(text, 20)[1] == shown


def test_font_and_licence_lie_together_and_stay_small():
    assert 1e6 < FILE.stat().st_size < 2e6
    assert "SIL OPEN FONT LICENSE" in (FILE.parent / "OFL.txt").read_text("utf-8")


def test_a_page_gets_the_syllables_that_it_needs_and_no_font_without_any():
    assert embedded("Pass the box") == ""
    data = embedded("상자 왼쪽")
    assert data == embedded("왼쪽 상자")
    font = ImageFont.truetype(io.BytesIO(base64.b64decode(data)), 20)
    assert font.getmask("상").getbbox() is not None
    assert len(data) < 20_000
