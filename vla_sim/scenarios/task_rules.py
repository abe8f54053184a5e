"""What a scenario file may say of its task: what counts as done, what is said later, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from vla_sim.core.config import Name, Number
from vla_sim.core.types import Leg, Side, SuccessRule
from vla_sim.scenarios.distributions import Distribution, Numbers


class Refusal(str, Enum):
    """Why standing still is the right answer."""

    ABSENT = "absent"
    AMBIGUOUS = "ambiguous"
    CONTRADICTION = "contradiction"
    STOP = "stop"
    NOTHING = "nothing"

    @property
    def section(self) -> str:
        """Its sentences in a language's file; "": they are the usual ones, and the scene makes them wrong."""
        return "" if self in (Refusal.ABSENT, Refusal.AMBIGUOUS) else self.value


@dataclass(frozen=True)
class LaterSentence:
    """Another sentence in the middle of an episode.

    Attributes:
        at_s: simulated time at which it is said, at the end of the control step that reaches it.
        say: "stop": to stop or to wait, to be obeyed at once: the robot may come at most the way of one control step.
            "again": the first sentence once more.
    """

    at_s: Annotated[Distribution, Numbers(0.1, 600)]
    say: Annotated[str, Name(("stop", "again"))] = "stop"


@dataclass(frozen=True)
class LegRule:
    """One of several things to do, in this order; the last one is something to go to.

    Attributes:
        to: name of a candidate to come within reach of.
        past: name of an obstacle to pass, on the side of `task.side`; the next object to go to stands behind it.
        through: name of a wall through whose doorway to go; what comes next is on its other side.
    """

    to: str | None = None
    past: str | None = None
    through: str | None = None

    def __post_init__(self) -> None:
        if sum(name is not None for name in (self.to, self.past, self.through)) != 1:
            raise ValueError("each of legs says one of to, past and through")

    @property
    def name(self) -> str:
        """Of the object or wall."""
        return self.to or self.past or self.through or ""

    @property
    def leg(self) -> Leg:
        """As part of a task."""
        return Leg(self.name, past=self.past is not None, through=self.through is not None)


@dataclass(frozen=True)
class TaskRules:
    """What is asked and what counts as done.

    Attributes:
        side: side on which every obstacle must be passed; without it any side will do.
        success: "reached": within reach of the goal; "stopped": within reach and commanded to stand still.
        reach_m: largest gap between the robot and the goal's surface that counts as reached.
        time_limit_s: simulated time after which an episode ends without success.
        collision_ends: whether touching anything ends an episode.
        clearance_m: room beside the robot that a feasible way must leave; scenes without one are not used.
        stop_steps: consecutive control steps of commanded standstill that count as having stopped.
        give_up_s: commanded standstill of so many seconds elsewhere is stopping for good and ends an episode.
        refuse: why standing still is the right answer, where it is: "absent": the object that is named is not there;
            "ambiguous": two or more fit the description; "contradiction": the sentence contradicts itself; "stop": it
            says to stop or to wait; "nothing": it is empty or asks for nothing.
        stay_m: where it is, how far from the place where it was told the robot may come.
    """

    side: Side | None = None
    success: SuccessRule = SuccessRule.STOPPED
    reach_m: Annotated[float, Number(0.02, 2)] = 0.3
    time_limit_s: Annotated[float, Number(0.5, 600)] = 16.0
    collision_ends: bool = True
    clearance_m: Annotated[float, Number(0, 1)] = 0.2
    stop_steps: Annotated[int, Number(1, 100)] = 2
    give_up_s: Annotated[float, Number(0.1, 60)] = 4.0
    refuse: Refusal | None = None
    stay_m: Annotated[float, Number(0.01, 5)] = 0.3
