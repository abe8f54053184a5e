"""The pages' common base: one style, everything escaped, plots whose pixels are where their values are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core import pages
from vla_sim.core.pages import Axes, template
from vla_sim.core.types import Outcome

PACKAGE = Path(pages.__file__).parents[2]
TEMPLATES = sorted(PACKAGE.rglob("*.j2"))


@pytest.mark.parametrize("path", [*TEMPLATES, *PACKAGE.rglob("*.css")], ids=lambda path: path.name)
def test_templates_and_styles_have_lines_that_can_be_read(path):
    assert max(map(len, path.read_text("utf-8").splitlines())) <= 130


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_style_sheet_of_its_own_or_marks_anything_as_safe(path):
    text = path.read_text("utf-8")
    assert "safe" not in text
    assert text.count("<style>") == (path.name == "base.html.j2")


@given(st.text())
def test_whatever_a_template_is_given_is_escaped(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "page.html.j2"
    path.write_text('{% extends "base.html.j2" %}{% block body %}[{{ text }}]{% endblock %}')
    body = template(path).render(text=text).partition("<body>")[2]
    shown = body[body.index("[") + 1 : body.rindex("]")]
    assert not set("<>\"'") & set(shown)


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_left_is_left_and_up_is_up(across, up):
    axes = Axes(200, 100, across=(50, -50), up=(-50, 50))
    x, y = axes.px(across, up)
    assert x == pytest.approx((50 - across) * 2, abs=0.06)
    assert y == pytest.approx(50 - up, abs=0.06)
    assert axes.line([(across, up)]) == f"{x:g},{y:g}"


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_colour_in_light_and_in_dark(outcome):
    style = (Path(pages.__file__).parent / "style.css").read_text("utf-8")
    assert style.count(f"--{outcome.value}: #") == 2
