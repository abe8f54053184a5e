"""HTML pages that need nothing but themselves: one base template, one style, one frame for plots.

Used by the report of an evaluation and by the audit of a data set. Everything that a template is given is escaped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.font import embedded

if TYPE_CHECKING:
    from jinja2 import Environment, Template

Point = tuple[float, float]
Ticks = Sequence[tuple[str, float]]


def template(path: Path, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """The template in a file; it may extend `base.html.j2` and import `parts.html.j2`."""
    environment = _environment(path.parent)
    environment.filters.update(filters or {})
    return environment.get_template(path.name)


def page(path: Path, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """The text of a page: its template with these values, and the Hangul that its text needs."""
    text = template(path, filters).render(**values)
    hangul = embedded(text)
    source = f'src: url("data:font/ttf;base64,{hangul}"); unicode-range: U+AC00-D7A3;'
    face = f'@font-face {{ font-family: "VLA Sim Sans"; {source} }}'
    return text.replace("</style>", face + "\n</style>", 1) if hangul else text


@functools.cache
def _environment(folder: Path) -> Environment:
    """Made once: compiling a template takes a fifth of a second."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,  # always: names, instructions and tracebacks come from anywhere
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True)
class Axes:
    """From values to the pixels of an SVG plot, for the macro `plot` of `parts.html.j2`.

    Attributes:
        width, height: of the plot in pixels.
        across: values at its left and at its right edge.
        up: values at its lower and at its upper edge.
        across_ticks, up_ticks: labels and the values that they stand at.
        margin: pixels left and below, for the labels.
    """

    width: float
    height: float
    across: Point
    up: Point
    across_ticks: Ticks = ()
    up_ticks: Ticks = ()
    margin: int = 22

    def px(self, across: float, up: float) -> Point:
        """(x, y) in pixels from the upper left corner, to a tenth."""
        (left, right), (low, high) = self.across, self.up
        x, y = (across - left) / (right - left), (high - up) / (high - low)
        return round(x * self.width, 1), round(y * self.height, 1)

    def line(self, points: Sequence[Point]) -> str:
        """Value of a polyline's or polygon's `points`."""
        return " ".join("{:g},{:g}".format(*self.px(*point)) for point in points)

    @property
    def columns(self) -> Ticks:
        """Labels below, with their pixels from the left."""
        return [(label, self.px(value, self.up[0])[0]) for label, value in self.across_ticks]

    @property
    def rows(self) -> Ticks:
        """Labels at the left, with their pixels from the top."""
        return [(label, self.px(self.across[0], value)[1]) for label, value in self.up_ticks]
