"""The one reader of config tables: whatever stands there becomes the declared value or one sentence."""

import json
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_sim.core.config import (
    ConfigError,
    ListOf,
    Number,
    Place,
    Text,
    check_fields,
    keys_of,
    read_json,
    read_table,
    shown,
)
from vla_sim.core.errors import UserError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Wheel:
    """A wheel.

    Attributes:
        radius_m: of the wheel,
            measured at the tread.
        angle_rad: of its axle.
    """

    radius_m: Annotated[float, Number(0.01, 1)] = 0.1
    angle_rad: Annotated[float, Number(-180, 180)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "wheel")


@dataclass(frozen=True)
class Cart:
    """A cart.

    Attributes:
        name: what it is called.
        doors, seats: how many.
    """

    name: Annotated[str, Text(longest=10)]
    doors: int = 2
    seats: Annotated[int, Number(1, 9, whole=True)] = 4
    open: bool = False
    color: Colour = Colour.RED
    size_m: Annotated[tuple[float, ...], ListOf(Number(0.1, 3), 3)] = (1.0, 1.0, 1.0)
    marks: tuple[str, ...] = ()
    gear: Literal["low", "high"] = "low"
    load_kg: float | None = None
    front: Wheel = field(default_factory=Wheel)
    extra: Any = None


PLACE = Place("my.toml")


def read(**values):
    return read_table(Cart, {"name": "van", **values}, PLACE)


def test_every_kind_of_field_is_read_as_its_type():
    cart = read(seats=3.0, open=True, color="blue", size_m=[1, 2, 3], marks=["a"], gear="high", front={"angle_deg": 90})
    assert (cart.seats, cart.open, cart.color, cart.size_m) == (3, True, Colour.BLUE, (1.0, 2.0, 3.0))
    assert isinstance(cart.seats, int)
    assert (cart.marks, cart.gear, cart.load_kg) == (("a",), "high", None)
    assert cart.front.angle_rad == pytest.approx(math.pi / 2)
    assert cart.front.radius_m == 0.1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seets": 1}, "my.toml: seets is not a known key; did you mean 'seats'? (allowed: name, doors, seats, open, "
         "color, size_m, marks, gear, load_kg, front, extra)"),
        ({"seats": 0}, "my.toml: seats must lie between 1 and 9, got 0"),
        ({"seats": 1.5}, "my.toml: seats must be a whole number, got 1.5"),
        ({"seats": True}, "my.toml: seats must be a whole number, got True"),
        ({"seats": 10**400}, "my.toml: seats must be a whole number, got 1000"),
        ({"load_kg": math.nan}, "my.toml: load_kg must be a number, got nan"),
        ({"open": 1}, "my.toml: open must be true or false, got 1"),
        ({"color": "bleu"}, "my.toml: color unknown 'bleu'; did you mean 'blue'? (allowed: red, blue)"),
        ({"gear": 3}, "my.toml: gear must be a name, got 3"),
        ({"size_m": [1, 2]}, "my.toml: size_m must hold 3 numbers, got 2: [1, 2]"),
        ({"size_m": 1}, "my.toml: size_m must be a list"),
        ({"size_m": [1, 2, "x"]}, "my.toml: size_m must be a number, got 'x'"),
        ({"name": "a\nb"}, "my.toml: name must be printable text"),
        ({"name": "x" * 11}, "my.toml: name must have at most 10 characters, got 11"),
        ({"front": 3}, "my.toml: front must be a table, got 3"),
        ({"front": {"radius": 1}}, "my.toml: front.radius is not a known key; did you mean 'radius_m'"),
        ({"front": {"angle_rad": 1}}, "my.toml: front.angle_rad is not a known key; did you mean 'angle_deg'"),
        ({"front": {"radius_m": 2}}, "my.toml: front.radius_m must lie between 0.01 and 1, got 2"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_answered_with_file_key_value_and_what_would_be_right(values, said):
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert str(caught.value).startswith(said)


def test_a_missing_key_is_named_and_the_error_is_of_the_asked_kind():
    class MineError(UserError):
        pass

    with pytest.raises(MineError, match=r"^my\.toml: cart\.name is missing$"):
        read_table(Cart, {}, Place("my.toml", "cart", MineError))


def test_a_value_that_no_file_could_hold_is_refused_on_any_other_way_in():
    with pytest.raises(ValueError, match=r"wheel\.radius_m must lie between 0\.01 and 1, got 5"):
        Wheel(radius_m=5)
    with pytest.raises(ValueError, match=r"wheel\.angle_deg must lie between -180 and 180, got 200"):
        Wheel(angle_rad=math.radians(200))
    assert Wheel(angle_rad=math.radians(180)).angle_rad == math.pi


def test_descriptions_come_from_the_docstring():
    described = {key.name: key.description for key in (*keys_of(Cart), *keys_of(Wheel))}
    assert described["doors"] == described["seats"] == "how many."
    assert described["radius_m"] == "of the wheel, measured at the tread."
    assert described["angle_deg"] == "of its axle."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is no JSON"),
        (b"[1]", r"must hold one object, got \[1\]"),
        (b"\xff", "is no JSON"),
        (b'{"a":' * 100_000, "is no JSON"),
        (b"9" * 5000, "is no JSON"),
    ],
)
def test_what_is_no_json_object_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)
tables = st.dictionaries(
    st.sampled_from([key.name for key in keys_of(Cart)]) | st.text(max_size=200), anything, max_size=6
)


@settings(max_examples=300, deadline=None)
@given(tables)
def test_any_table_gives_the_value_or_one_sentence(table):
    error = None
    try:
        cart = read_table(Cart, table, PLACE)
    except ConfigError as raised:
        error = str(raised)
    if error is None:
        assert isinstance(cart, Cart)
    else:
        assert error.startswith("my.toml: ")
        assert "\n" not in error
        assert len(error) < 1000


def test_a_value_is_shown_in_one_short_line():
    assert shown(["x" * 1000]).endswith(" ...")
    assert shown(10**5000) == "an int too long to show"
    assert json.loads(shown(12)) == 12


def test_numbers_that_no_float_can_hold_are_refused_where_they_are_read(tmp_path):
    """A config with 10^400 was an OverflowError wherever it became a float."""
    (tmp_path / "config.json").write_text('{"scale": [1' + "0" * 400 + "]}")
    with pytest.raises(UserError, match="a number of 401 digits"):
        read_json(tmp_path / "config.json")
