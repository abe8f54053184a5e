import pytest
from PIL import ImageFont

from vla_sim.evaluation.reporting import fonts
from vla_sim.evaluation.reporting.fonts import FONT_VARIABLE, NOTE, font_for, romanise


@pytest.fixture
def no_korean_font(monkeypatch):
    monkeypatch.setattr(fonts, "_korean_files", lambda: ())
    monkeypatch.delenv(FONT_VARIABLE, raising=False)


def test_latin_text_comes_back_as_it_is(no_korean_font):
    assert font_for("Pass the box · “left” × 2", 20)[1] == "Pass the box · “left” × 2"


def test_without_a_font_korean_is_spelled_and_says_so(no_korean_font):
    assert font_for("상자 왼쪽", 20)[1] == "sangja oenjjok" + NOTE


def test_other_missing_characters_are_spelled_as_code_points(no_korean_font):
    assert font_for("箱 A", 20)[1] == "<U+7BB1> A" + NOTE


@pytest.mark.parametrize(
    ("hangul", "latin"),
    [
        ("한글", "hangeul"),
        ("왼쪽", "oenjjok"),
        ("바구니", "baguni"),
        ("값", "gap"),
        ("의", "ui"),
        ("box 뒤", "box dwi"),
    ],
)
def test_romanisation(hangul, latin):
    assert romanise(hangul) == latin


def test_a_named_font_without_the_characters_is_not_used(no_korean_font, monkeypatch):
    monkeypatch.setenv(FONT_VARIABLE, fonts._latin_file(False))
    assert font_for("상자", 20)[1].endswith(NOTE)


def test_a_named_font_that_is_no_font_is_not_used(no_korean_font, monkeypatch, tmp_path):
    (tmp_path / "font.ttf").write_text("no font")
    monkeypatch.setenv(FONT_VARIABLE, str(tmp_path / "font.ttf"))
    assert font_for("상자", 20)[1].endswith(NOTE)


def test_a_font_that_has_the_characters_is_used_untouched(no_korean_font, monkeypatch):
    monkeypatch.setattr(fonts, "_has", lambda font, c: c.isascii() or font.size == 20)
    font, text = font_for("상자", 20)
    assert text == "상자"
    assert isinstance(font, ImageFont.FreeTypeFont)


def test_without_matplotlib_the_built_in_font_serves(monkeypatch):
    monkeypatch.setattr(fonts, "_latin_file", lambda bold: "")
    assert font_for("Pass the box", 20)[1] == "Pass the box"
