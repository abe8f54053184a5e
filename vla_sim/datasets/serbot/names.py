"""File names of serbot's recordings, which are their real labels: scenario, side, pattern, distance.

episode_20250815_122923_2box_vert_left_core_medium.h5      cup family of August 2025
episode_20251120_101010_1box_right_core_close.h5           bottle family of November 2025: orientation was dropped
episode_20260129_010422_basket_1box_hori_left_core_medium  basket family of January 2026
episode_20260310_090000_v3_center                          third basket set of March 2026

Some end with the time of day (`_evening`). Others say nothing (`episode_20250101_120100`): their labels are unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.types import Side

CUP, BOTTLE, BASKET, BASKET_V3 = FAMILIES = ("cup", "bottle", "basket", "basket_v3")
BOXES = ("1box", "2box")
ORIENTATIONS = ("vert", "hori")
PATTERNS = ("core", "variant")
DISTANCES = ("close", "medium", "far")
PERIODS = ("dawn", "morning", "afternoon", "evening", "night")
V3_KINDS = ("center", "left", "right", "recovery", "noise")
WORDS = ("basket", *BOXES, *ORIENTATIONS, *PATTERNS, *DISTANCES, "v3", *V3_KINDS, *PERIODS)

_STEM = re.compile(r"episode_(?P<time>\d{8}_\d{6})_(?P<rest>.+)", re.DOTALL)
_SCENE = re.compile(
    r"(?P<basket>basket_)?(?P<boxes>[12]box)(_(?P<orientation>vert|hori))?_(?P<side>left|right)"
    rf"(_(?P<pattern>core|variant))?(_(?P<distance>close|medium|far))?(_(?P<period>{'|'.join(PERIODS)}))?"
)
_V3 = re.compile(
    r"(basket_)?v3_(?P<v3>center|left|right|recovery|noise)(_(?P<pattern>core|variant))?(_(?P<distance>close|medium|far))?"
    rf"(_(?P<period>{'|'.join(PERIODS)}))?"
)
_TIME = "%Y%m%d_%H%M%S"


@dataclass(frozen=True)
class SerbotLabels:
    """What a file name says.

    Attributes:
        family: one of FAMILIES. The names do not tell cup from bottle; sets with an orientation had cups.
        boxes: "1box" or "2box"; "" in the third basket set.
        orientation: "vert", "hori" or "".
        side: side on which the obstacle is passed; None where no side was asked for.
        pattern: "core" (the scripted path), "variant" (altered timing or order) or "".
        distance: of the obstacle at the start: "close", "medium", "far" or "".
        v3: kind of episode in the third basket set, else "".
        taken: when it was recorded.
        period: time of day, "evening" for example, or "".
    """

    family: str
    boxes: str = ""
    orientation: str = ""
    side: Side | None = None
    pattern: str = ""
    distance: str = ""
    v3: str = ""
    taken: datetime | None = None
    period: str = ""

    @property
    def scenario(self) -> str:
        """Name without time, pattern and distance, e.g. "1box_vert_left"; cells of a data set are counted by it."""
        side = self.side.value if self.side else ""
        parts = ("v3", self.v3) if self.v3 else (self.boxes, self.orientation, side)
        words = ("basket", *parts) if self.family == BASKET else parts
        return "_".join(word for word in words if word)

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        taken = (self.taken or datetime(2000, 1, 1)).strftime(_TIME)
        words = ("episode", taken, self.scenario, self.pattern, self.distance, self.period)
        return "_".join(word for word in words if word)

    @property
    def simulated(self) -> str:
        """The simulator's scenario that stands for it; "" where there is none."""
        side = self.side.value if self.side else ""
        if self.family == BASKET_V3:
            known = {"center": "basket_clear", "left": "basket_core_left", "right": "basket_core_right"}
            return known.get(self.v3, "")
        if self.family == CUP:
            return "_".join(word for word in (self.boxes, self.orientation, side, self.distance) if word)
        return f"{self.family}_{self.boxes}_{side}"

    def instruction(self, language: str = "en") -> str:
        """The sentence that the robot's own loaders give for such a name.

        For the basket families no Korean sentence is known; theirs is one of the simulator's.
        """
        if language not in _SENTENCES:
            raise UserError(f"unknown language {language!r}; {suggest(language, _SENTENCES)}")
        sentences, words = _SENTENCES[language], _WORDS[language]
        key = self.v3 if self.v3 in ("center", "recovery", "noise") else self.family
        key = BASKET if key == BASKET_V3 else key
        side = words[self.side.value] if self.side else ""
        return sentences[key].format(side=side, pots=words["2box" if self.boxes == "2box" else "1box"])


_AVOID_EN = "Navigate to the gray basket while avoiding the brown pot"
_AVOID_KO = "화분을 피해 바구니 앞으로 도착하세요"
_SENTENCES = {
    "en": {
        CUP: "Navigate around the obstacle on the {side} side and reach the cup",
        BOTTLE: "Navigate around obstacles and reach the front of the beverage bottle on the {side}",
        BASKET: "Navigate around the {pots} on the {side} side and reach the basket",
        "center": "Navigate toward the gray basket until it is centered in the frame",
        "recovery": _AVOID_EN,
        "noise": _AVOID_EN,
    },
    "ko": {
        CUP: "가장 {side} 외곽으로 돌아 컵까지 가세요",
        BOTTLE: "장애물을 피해 음료수 페트병 앞으로 도착해라",
        BASKET: "{pots} {side}으로 돌아서 바구니까지 가세요",
        "center": "바구니를 향해 가세요",
        "recovery": _AVOID_KO,
        "noise": _AVOID_KO,
    },
}
_WORDS = {
    "en": {"left": "left", "right": "right", "1box": "pot", "2box": "pots"},
    "ko": {"left": "왼쪽", "right": "오른쪽", "1box": "화분을", "2box": "화분 두 개를"},
}


def has_labels(stem: str) -> bool:
    """Whether a name has labels: episode_<YYYYMMDD>_<HHMMSS>_<labels>. Names of other forms say nothing."""
    return _STEM.fullmatch(stem) is not None


def parse_name(stem: str) -> SerbotLabels:
    """The labels in a file name (without ending).

    Raises:
        UserError: not such a name; says which word is unknown.
    """
    whole = _STEM.fullmatch(stem)
    if whole is None:
        raise UserError(f"{stem!r}: not a recording's name, which is episode_<YYYYMMDD>_<HHMMSS>_<labels>")
    try:
        taken = datetime.strptime(whole["time"], _TIME)
    except ValueError as error:
        raise UserError(f"{stem!r}: {whole['time']} is no date and time") from error
    return _labels(stem, whole["rest"], taken)


def _labels(stem: str, rest: str, taken: datetime) -> SerbotLabels:
    v3 = _V3.fullmatch(rest)
    if v3:
        side = Side(v3["v3"]) if v3["v3"] in ("left", "right") else None
        return SerbotLabels(
            BASKET_V3,
            side=side,
            pattern=v3["pattern"] or "",
            distance=v3["distance"] or "",
            v3=v3["v3"],
            taken=taken,
            period=v3["period"] or "",
        )
    scene = _SCENE.fullmatch(rest)
    if scene is None:
        raise UserError(f"{stem!r}: {_what_is_wrong(rest)}")
    family = BASKET if scene["basket"] else CUP if scene["orientation"] else BOTTLE
    return SerbotLabels(
        family,
        boxes=scene["boxes"],
        orientation=scene["orientation"] or "",
        side=Side(scene["side"]),
        pattern=scene["pattern"] or "",
        distance=scene["distance"] or "",
        taken=taken,
        period=scene["period"] or "",
    )


def _what_is_wrong(rest: str) -> str:
    for word in rest.split("_"):
        if word not in WORDS:
            return f"unknown label {word!r}; {suggest(word, WORDS, most=len(WORDS))}"
    order = "[basket_]<1box|2box>[_<vert|hori>]_<left|right>[_<core|variant>][_<close|medium|far>][_<time of day>]"
    return f"labels {rest!r} must stand as {order}"


# Simulated scenarios of the third basket set and their kind of episode.
_SIMULATED_V3 = {
    "basket_core": "left",
    "basket_core_left": "left",
    "basket_core_right": "right",
    "basket_clear": "center",
}


def labels_of_simulated(scenario: str, *, distance: str, pattern: str, taken: datetime) -> SerbotLabels | None:
    """The labels of an episode in one of the simulator's scenarios; None where the robot's names have no word for it.

    Args:
        scenario: the simulator's name, e.g. "bottle_1box_left" or "2box_vert_left_close".
        distance: of the first obstacle, which goes into the name.
        pattern: "core" or "variant".
        taken: time for the name; two episodes of a folder must differ in it.
    """
    if scenario in _SIMULATED_V3:
        rest, distance = f"v3_{_SIMULATED_V3[scenario]}", ""
    else:
        rest = scenario.removeprefix("bottle_")
    for known in DISTANCES:
        rest = rest.removesuffix(f"_{known}")
    words = [word for word in (rest, pattern, distance) if word]
    try:
        found = parse_name(f"episode_{taken.strftime(_TIME)}_{'_'.join(words)}")
    except UserError:
        return None
    return found if found.family == BASKET_V3 or found.simulated.startswith(scenario) else _if_same(found, scenario)


def _if_same(labels: SerbotLabels, scenario: str) -> SerbotLabels | None:
    """Of the cup family the simulator's name may be without distance."""
    return labels if labels.simulated.removesuffix(f"_{labels.distance}") == scenario else None


def simulated_stem(scenario: str, *, distance: str, pattern: str, taken: datetime) -> str:
    """File name of a simulated episode: as the robot's where possible, else with the scenario's name."""
    labels = labels_of_simulated(scenario, distance=distance, pattern=pattern, taken=taken)
    return labels.stem if labels else f"episode_{taken.strftime(_TIME)}_{scenario}"
