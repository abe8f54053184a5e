"""Plans how a set of recordings is filled up with simulated episodes: the emptiest cells first. Used by `expand`.

A cell is a scenario (which includes the side) and a distance. Cells are those of the recordings, their mirrored
twins, and every distance of a scenario whose recordings name distances.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.types import Side
from vla_sim.datasets.serbot.names import DISTANCES
from vla_sim.rollout.recording import RecordingJob, obstacle_distance
from vla_sim.scenarios import load_scenario, scenario_names
from vla_sim.scenarios.library import twin_of

# Seeds that are tried for a world at a certain distance before it counts as impossible.
TRIES = 60
# Two names of one scenario.
_ALIASES = {"basket_core": "basket_core_left"}


@dataclass(frozen=True)
class Cell:
    """Drives that count as alike.

    Attributes:
        scenario: of the simulator, without distance; "" for recordings that it has no scenario for.
        side: "left", "right" or "".
        distance: "close", "medium", "far" or "".
    """

    scenario: str
    side: str
    distance: str

    def __str__(self) -> str:
        return " ".join(word for word in (self.scenario or "(no simulated scenario)", self.distance) if word)


@dataclass(frozen=True)
class ExpansionPlan:
    """What is there, and what is added in which order.

    Attributes:
        before: recordings by cell.
        added: cell of each simulated episode.
        jobs: the episodes.
        possible: cells that episodes can be added to.
    """

    before: Counter[Cell]
    added: tuple[Cell, ...]
    jobs: tuple[RecordingJob, ...]
    possible: tuple[Cell, ...]

    @property
    def after(self) -> Counter[Cell]:
        """Episodes by cell in the end."""
        return self.before + Counter(self.added)

    def table(self) -> str:
        """Cells and totals before and after, for people."""
        before, after = self.before, self.after
        cells = sorted({*after, *self.possible}, key=_order)
        width = max(len(str(cell)) for cell in (*cells, "scenario and distance"))
        lines = [f"{'scenario and distance':{width}}  before  after"]
        for cell in cells:
            note = "" if cell in self.possible else "  no such simulated world"
            lines.append(f"{cell!s:{width}}  {before[cell]:6}  {after[cell]:5}{note}")
        for what in ("side", "distance"):
            names = dict.fromkeys(getattr(cell, what) for cell in cells)
            for name in names:
                counts = [sum(n for c, n in table.items() if getattr(c, what) == name) for table in (before, after)]
                title = f"{what} {name or 'none'}"
                lines.append(f"{title:{width}}  {counts[0]:6}  {counts[1]:5}")
        lines.append(f"{'all':{width}}  {before.total():6}  {after.total():5}")
        return "\n".join(lines)


def cell_of(episode: Episode) -> Cell:
    """Where a recording counts, by its provenance."""
    known = episode.provenance
    real = not known.get("simulated") and "simulated_scenario" in known
    name = str(known["simulated_scenario"] if real else known.get("scenario", ""))
    side, distance = str(known.get("side", "")), str(known.get("distance", ""))
    return Cell(_base(name), side, distance if distance in DISTANCES else "")


def make_plan(recordings: Iterable[Episode], *, target: int, seed0: int, robot_radius_m: float) -> ExpansionPlan:
    """Choose what to add until there are `target` episodes.

    Args:
        recordings: what is there; all are kept.
        target: number of episodes in the end.
        seed0: first seed of the simulated worlds.
        robot_radius_m: of the robot that will drive.

    Raises:
        UserError: nothing can be simulated, or the training seeds are used up.
    """
    before = Counter(cell_of(recording) for recording in recordings)
    grid = _grid(before)
    worlds = _Worlds(seed0, robot_radius_m)
    possible = tuple(cell for cell in grid if worlds.possible(cell))
    missing = target - before.total()
    if missing > 0 and not possible:
        raise UserError("none of the recordings' scenarios can be simulated: " + ", ".join(map(str, before)))
    added = tuple(_emptiest_first(before, possible, max(0, missing)))
    jobs = tuple(worlds.job(before.total() + number, cell) for number, cell in enumerate(added))
    return ExpansionPlan(before, added, jobs, possible)


def _grid(before: Counter[Cell]) -> list[Cell]:
    """All cells to be filled."""
    known = [cell for cell in before if cell.scenario]
    scenarios: dict[str, str] = {}
    for cell in known:
        scenarios[cell.scenario] = cell.side
        twin = twin_of(cell.scenario)
        if twin:
            scenarios[twin] = Side(cell.side).opposite.value if cell.side else ""
    twins = {name: {name, twin_of(name)} for name in scenarios}
    distances = {name: any(cell.distance for cell in known if cell.scenario in names) for name, names in twins.items()}
    cells = [
        Cell(name, side, distance)
        for name, side in scenarios.items()
        for distance in (DISTANCES if distances[name] else ("",))
    ]
    return sorted(cells, key=_order)


def _emptiest_first(before: Counter[Cell], cells: Sequence[Cell], count: int) -> Iterator[Cell]:
    """The cell to add to, again and again; among equally empty ones the side, distance, scenario that has least."""
    now = Counter(before)
    sides: Counter[str] = Counter()
    distances: Counter[str] = Counter()
    scenarios: Counter[str] = Counter()

    def add(cell: Cell, number: int) -> None:
        now[cell] += number
        sides[cell.side] += number
        distances[cell.distance] += number
        scenarios[cell.scenario] += number

    for cell, number in before.items():
        add(cell, number)
        now[cell] -= number
    for _ in range(count):
        cell = min(
            cells, key=lambda c: (now[c], sides[c.side], distances[c.distance], scenarios[c.scenario], _order(c))
        )
        add(cell, 1)
        yield cell


class _Worlds:
    """Finds seeds whose worlds lie in a cell; each seed is used once."""

    def __init__(self, seed0: int, robot_radius_m: float) -> None:
        self._seed, self._radius_m = seed0, robot_radius_m
        self._names = set(scenario_names())

    def possible(self, cell: Cell) -> bool:
        """Whether such worlds exist (as far as some tries tell)."""
        return self._found(cell, range(TRIES)) is not None

    def job(self, index: int, cell: Cell) -> RecordingJob:
        """An episode in a world of the cell."""
        seed = self._found(cell, range(self._seed, self._seed + 100 * TRIES))
        if seed is None:
            raise UserError(f"no world for {cell} among the seeds from {self._seed}")
        self._seed = seed + 1
        return RecordingJob(index, self._name(cell), seed)

    def _name(self, cell: Cell) -> str:
        exact = f"{cell.scenario}_{cell.distance}"
        return exact if exact in self._names else cell.scenario

    def _found(self, cell: Cell, seeds: range) -> int | None:
        name = self._name(cell)
        if name not in self._names:
            return None
        scenario = load_scenario(name)
        for seed in seeds:
            distance = obstacle_distance(scenario.sample(seed, robot_radius_m=self._radius_m))
            if cell.distance in ("", distance):
                return seed
        return None


def _base(scenario: str) -> str:
    """The simulator's name without distance."""
    for distance in DISTANCES:
        shorter = scenario.removesuffix(f"_{distance}")
        # basket_close and basket_far are scenarios of their own.
        if shorter != scenario and shorter in scenario_names():
            return shorter
    return _ALIASES.get(scenario, scenario)


def _order(cell: Cell) -> tuple[str, str, int]:
    return cell.scenario, cell.side, DISTANCES.index(cell.distance) if cell.distance else -1
