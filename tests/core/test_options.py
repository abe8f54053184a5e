"""Options from dataclasses: what a command line may say, and how what is wrong is answered."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import Positional

from vla_sim.core.bounds import Count, Fraction, Pixels, PositiveInt, Seconds, Seed
from vla_sim.core.errors import UserError
from vla_sim.core.options import Command, Names, OptionalFolder, help_text, named, parse

COMMAND = Command("vla_sim.tried", "Try everything.", "examples:\n  tried {x} [y]")


@dataclass(frozen=True)
class Camera:
    """Camera."""

    image_px: tuple[Pixels, Pixels] | None = None
    """Width and height."""
    noise: Fraction = 0.0
    """In shares."""


@dataclass(frozen=True, kw_only=True)
class Options:
    folder: Annotated[Positional[Path], named("DIR")]
    """Where it lies."""
    policy: Names = ()
    """Several."""
    format: Literal["hdf5", "lerobot"] = "hdf5"
    """Of the files."""
    language: Literal["en", "ko"] | None = None
    """Of the sentences."""
    first_seed: Seed = 0
    """First."""
    episodes: PositiveInt = 5
    """How many."""
    frames: Count = 0
    """Padding."""
    hang_timeout: Seconds = 60.0
    """Seconds."""
    out: OptionalFolder = None
    """Folder."""
    mirror: bool = True
    """Without mirroring."""
    camera: Camera = Camera()


def parsed(text):
    return parse(Options, text.split(), COMMAND)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d --policy a b", {"policy": ("a", "b")}),
        ("d --policy a --episodes 3 --policy b c", {"policy": ("a", "b", "c"), "episodes": 3}),
        ("--policy=a --policy=b --out=x d", {"policy": ("a", "b"), "out": Path("x")}),
        ("d --out None", {"out": Path("None")}),
        ("d --language ko --no-mirror", {"language": "ko", "mirror": False}),
        ("d --image-px 30 40 --noise 1e-1", {"camera": Camera((30, 40), 0.1)}),
        ("d --hang_timeout 3", {"hang_timeout": 3.0}),
    ],
)
def test_a_command_line_becomes_a_dataclass(text, expected):
    if text.startswith("--policy"):
        text = "d " + text.removesuffix(" d")
    assert parsed(text) == Options(folder=Path("d"), **expected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("d --polcy a", "unknown option --polcy; did you mean '--policy'?"),
        ("d --mirror", "unknown option --mirror; did you mean '--no-mirror'?"),
        ("d --format hdf", "--format: unknown choice 'hdf'; did you mean 'hdf5'? (allowed: hdf5, lerobot)"),
        ("d --language None", "--language: unknown choice 'None'; allowed: en, ko"),
        ("d --episodes 1e9", "--episodes: '1e9' is not a whole number"),
        ("d --episodes 9999999999", "--episodes must be at most 1,000,000, got 9999999999"),
        ("d --episodes 0", "--episodes must be at least 1, got 0"),
        ("d --frames -1", "--frames must not be negative, got -1"),
        (
            "d --first-seed 9223372036854775808",
            "--first-seed must be at most 9,007,199,254,740,991, got 9223372036854775808",
        ),
        ("d --hang-timeout nan", "--hang-timeout must be a finite number, got nan"),
        ("d --hang-timeout 1e400", "--hang-timeout must be a finite number, got inf"),
        ("d --hang-timeout soon", "--hang-timeout: 'soon' is not a number"),
        ("d --noise 1.1", "--noise must lie between 0 and 1, got 1.1"),
        ("d --noise nan", "--noise must be a finite number, got nan"),
        ("d --image-px 3", "--image-px needs 2 numbers"),
        ("d --image-px 3 q", "--image-px: cannot be read as 2 numbers"),
        ("d --image-px 30 0", "--image-px must be at least 8, got 0"),
        ("d --out", "--out needs a value"),
        ("", "DIR must be given"),
        ("d e", "unexpected argument 'e'"),
        ("d --seed0 3", "--seed0 is now --first-seed"),
        ("d --from=x", "--from is now --data"),
        ("d\0", "NUL"),
    ],
)
def test_what_is_wrong_is_one_sentence(text, sentence, capsys):
    with pytest.raises(UserError) as raised:
        parsed(text)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("columns", ["30", "80", "200"])
def test_help_names_every_option_with_its_text_and_ends_with_the_examples(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    page = help_text(Options, COMMAND)
    for text in ("Try everything.", "--policy NAME ...", "--format {hdf5,lerobot}", "--no-mirror", "--image-px N N"):
        assert text in page
    assert "(default: hdf5)" in page or columns == "30"
    assert "None" not in page
    assert page.endswith("examples:\n  tried {x} [y]")
    assert sys.modules["os"].environ["COLUMNS"] == columns
