"""What images say about a data set: channel order, frozen or flat images, whether they alone tell the side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.audit.findings import Finding, Severity, some
from vla_sim.datasets.audit.recorded import EVALUATION, TRAIN, Broken, Recorded
from vla_sim.datasets.channel_order import DECIDED, brownness

# Images of one episode that are looked at, and episodes at most (spread evenly).
PER_EPISODE, MOST_EPISODES = 3, 300
# First images of each split that are compared, where there are two splits.
MOST_FIRST = 2000
UNREADABLE = (UserError, OSError, ValueError, IndexError)
THUMBNAIL_PX = 24
# An image whose pixels spread less than this (0..255) shows nothing.
FLAT = 3.0
# Share of episodes with clearly blue images that makes the order suspicious; where files say their order, the share
# that is worth a note.
BLUE, BLUE_STATED = 0.5, 0.9
# Least number, and share of all, of episodes with clear colours for a statement about the channel order.
FEWEST_DECIDED, LEAST_DECIDED = 4, 0.05
# The order is mixed when each kind has the first share, and the second share of the bluish episodes comes to within
# the third of its distance to a brownish one once its channels are swapped.
MIXED, MIXED_CLOSER, CLOSER = 0.05, 0.7, 0.6
# Rooms that differ too much for that: from this share and number of both kinds on, the order may be mixed.
MAYBE_MIXED, MAYBE_MIXED_LEAST = 0.15, 3
# Accuracy of the nearest neighbour's side, beyond guessing, that counts as a leak of the side into the image.
TELLS_SIDE = 0.9
FEWEST_EPISODES = 10


@dataclass(frozen=True)
class Look:
    """Images of one episode, boiled down.

    Attributes:
        recorded: the episode.
        brownness: see `vla_sim.datasets.channel_order`; of the images as `Recorded` gives them.
        spread: smallest standard deviation of an image.
        frozen: whether its images are equal though the robot moved between them.
        first_hash: of the first image's bytes.
        thumbnail: float32 (THUMBNAIL_PX, THUMBNAIL_PX, 3), first image.
        size_px: (width, height).
    """

    recorded: Recorded
    brownness: float
    spread: float
    frozen: bool
    first_hash: int
    thumbnail: np.ndarray
    size_px: tuple[int, int]


@dataclass(frozen=True)
class First:
    """The first image of an episode.

    Attributes:
        name: of the episode.
        digest: of the image's bytes, comparable within one process.
        thumbnail: float32 (THUMBNAIL_PX, THUMBNAIL_PX, 3).
    """

    name: str
    digest: int
    thumbnail: np.ndarray


def look_at(
    recorded: Sequence[Recorded],
    *,
    most: int = MOST_EPISODES,
    thorough: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Look], list[Broken]]:
    """Some images of some episodes, and the episodes with images that cannot be read.

    Args:
        recorded: the episodes.
        most: of them to look at, spread evenly.
        thorough: decode every image of all of them besides.
        on_progress: called with what is done, of how many.
    """
    chosen = _spread(recorded, most)
    looked_at = {id(one) for one in chosen}
    looks, broken = [], []
    todo = recorded if thorough else chosen
    for number, one in enumerate(todo):
        try:
            if thorough:
                one.load()
            if id(one) in looked_at:
                looks.append(_look(one))
        except UNREADABLE as error:
            broken.append(Broken(one.name, str(error)))
        if on_progress:
            on_progress(number + 1, len(todo))
    return looks, broken


def first_images(recorded: Sequence[Recorded], looks: Sequence[Look]) -> dict[str, list[First]]:
    """First images by split, of `MOST_FIRST` episodes each at most; those looked at already are not read again."""
    known = {id(look.recorded): look for look in looks}
    found: dict[str, list[First]] = {}
    for split in (TRAIN, EVALUATION):
        own = [one for one in recorded if (one.labels.get("split") == EVALUATION) == (split == EVALUATION)]
        found[split] = []
        for one in _spread(own, MOST_FIRST):
            look = known.get(id(one))
            if look:
                found[split].append(First(one.name, look.first_hash, look.thumbnail))
                continue
            with contextlib.suppress(*UNREADABLE):
                image = one.image(0)
                found[split].append(First(one.name, hash(image.tobytes()), thumbnail(image)))
    return found


def _spread(recorded: Sequence[Recorded], most: int) -> list[Recorded]:
    return [recorded[i] for i in np.unique(np.linspace(0, len(recorded) - 1, min(len(recorded), most)).astype(int))]


def _look(recorded: Recorded) -> Look:
    steps = sorted({*np.linspace(0, len(recorded.actions) - 1, PER_EPISODE).astype(int).tolist()})
    images = np.stack([recorded.image(t) for t in steps])
    moved = np.abs(recorded.actions[steps[0] : steps[-1]]).max(initial=0) > 0
    same = len(steps) > 1 and all(np.array_equal(images[0], other) for other in images[1:])
    return Look(
        recorded,
        brownness=brownness(images[:, ::2, ::2]),
        spread=float(min(image[::4, ::4].std() for image in images)),
        frozen=bool(same and moved),
        first_hash=hash(images[0].tobytes()),
        thumbnail=thumbnail(images[0]),
        size_px=(images.shape[2], images.shape[1]),
    )


def thumbnail(image: np.ndarray, side_px: int = THUMBNAIL_PX) -> np.ndarray:
    """A small float32 (side, side, 3) image: means of blocks."""
    height, width = image.shape[:2]
    rows = np.linspace(0, height, side_px + 1).astype(int)[:-1]
    columns = np.linspace(0, width, side_px + 1).astype(int)[:-1]
    if min(height, width) < side_px:
        return image[np.ix_(rows, columns)].astype(np.float32)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float32), rows, axis=0), columns, axis=1)
    areas = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
    return np.asarray(sums / areas[..., None], dtype=np.float32)


def channel_order(looks: Sequence[Look]) -> Finding | None:
    """Whether images look as if red and blue were swapped, in all or some episodes.

    Colours are only asked where no order is stated: other light and lamps turn them, a statement stays.
    """
    if not looks:
        return None
    silent = [look for look in looks if not look.recorded.labels.get("channel_order")]
    stated = sorted({str(look.recorded.labels["channel_order"]) for look in looks if look not in silent})
    if silent:
        found = _order_by_colours(silent)
        figures = {**found.figures, "declared": stated, "stated": len(looks) - len(silent)}
        return replace(found, figures=figures)
    figures = _colour_figures(looks)
    against = figures["blue"] / max(figures["blue"] + figures["brown"], FEWEST_DECIDED, LEAST_DECIDED * len(looks))
    odd = against >= BLUE_STATED
    return Finding(
        "channel_order",
        Severity.NOTE if odd else Severity.GOOD,
        f"channel order is stated: {', '.join(stated)}" + (", though images are bluer than rooms are" if odd else ""),
        text="A lamp or a changed light can be why; if the statement is wrong, read with --channel-order."
        if odd
        else "",
        figures={**figures, "declared": stated, "stated": len(looks)},
    )


def _colour_figures(looks: Sequence[Look]) -> dict[str, Any]:
    values = np.array([look.brownness for look in looks])
    blue, brown = values <= -DECIDED, values >= DECIDED
    return {
        "blue": int(blue.sum()),
        "brown": int(brown.sum()),
        "undecided": int((~blue & ~brown).sum()),
        "median_brownness": float(np.median(values)),
        "closer_when_swapped": _closer_when_swapped([look.thumbnail for look in looks], blue, brown),
    }


def _order_by_colours(looks: Sequence[Look]) -> Finding:
    """What the colours of episodes say that do not state their order; one kind of finding at most."""
    figures = _colour_figures(looks)
    blue, brown, closer = figures["blue"], figures["brown"], figures["closer_when_swapped"]
    names = some([look.recorded.name for look in looks if look.brownness <= -DECIDED])
    decided = max(blue + brown, FEWEST_DECIDED, LEAST_DECIDED * len(looks))
    bluish, both = blue / decided, min(blue, brown) / decided
    kinds = f"{brown} episodes are rather brown, {blue} rather blue"
    if both >= MIXED and closer >= MIXED_CLOSER:
        return Finding(
            "channel_order",
            Severity.CRITICAL,
            f"channel order looks mixed: {kinds}",
            text=f"{closer:.0%} of the blue ones look more like a brown one once red and blue are swapped: probably "
            "one part was stored as RGB and one as BGR.",
            advice="Look at both kinds below; say the order of each part when reading.",
            weight=1,
            figures=figures,
            episodes=names,
        )
    if both >= MAYBE_MIXED and min(blue, brown) >= MAYBE_MIXED_LEAST:
        return Finding(
            "channel_order",
            Severity.WARNING,
            f"channel order may be mixed: {kinds}",
            text="Rooms of one order are seldom told wrongly, about 3 in 100. The images differ too much from one "
            "another to say more.",
            advice="Look at both kinds below; where red and blue are swapped in one, say the order of each part.",
            weight=float(both),
            figures=figures,
            episodes=names,
        )
    if bluish >= BLUE:
        return Finding(
            "channel_order",
            Severity.WARNING,
            f"images look like BGR, not RGB: {blue} of {len(looks)} episodes are bluer than rooms are",
            text="Wood, cardboard and flower pots are brown, hardly anything in a room is azure. A backbone that was "
            "trained on RGB sees false colours. The files do not say their order.",
            advice="Look at the images below and say the order when reading.",
            weight=float(bluish),
            figures=figures,
            episodes=names,
        )
    said = "looks like RGB" if brown / decided >= BLUE else "cannot be told from the colours"
    return Finding("channel_order", Severity.GOOD, f"channel order {said}", figures=figures)


def _closer_when_swapped(thumbnails: Sequence[np.ndarray], blue: np.ndarray, brown: np.ndarray) -> float:
    """Share of the blue images that lie nearer to some brown one with red and blue swapped than as they are.

    Of one room stored in two orders nearly all do; of rooms with lights and things of their own, few.
    """
    if not blue.any() or not brown.any():
        return 0.0
    flat = np.stack(thumbnails)
    known = flat[brown].reshape(int(brown.sum()), -1)

    def nearest(images: np.ndarray) -> np.ndarray:
        rows = images.reshape(len(images), -1)
        return np.array([np.abs(known - row).mean(axis=1).min() for row in rows])

    return float((nearest(flat[blue][..., ::-1]) < CLOSER * nearest(flat[blue])).mean())


def damaged_images(looks: Sequence[Look]) -> Finding | None:
    """Images that show nothing, do not change, or differ in size."""
    flat = [look.recorded.name for look in looks if look.spread < FLAT]
    frozen = [look.recorded.name for look in looks if look.frozen]
    sizes = sorted({look.size_px for look in looks})
    parts = []
    if flat:
        parts.append(f"{len(flat)} episodes have images of one colour")
    if frozen:
        parts.append(f"{len(frozen)} episodes have images that do not change while the robot moves")
    if len(sizes) > 1:
        parts.append("images have different sizes: " + ", ".join(f"{w}x{h}" for w, h in sizes))
    if not looks:
        return None
    if not parts:
        width, height = sizes[0]
        return Finding("pictures", Severity.GOOD, f"images are {width}x{height} and change as the robot moves")
    share = len(set(flat + frozen)) / len(looks)
    return Finding(
        "pictures",
        Severity.CRITICAL if share > 0.5 else Severity.WARNING,
        "; ".join(parts),
        advice="Leave these episodes out." if flat or frozen else "",
        weight=share,
        figures={"flat": len(flat), "frozen": len(frozen), "sizes": [list(s) for s in sizes], "looked_at": len(looks)},
        episodes=some(flat + frozen),
    )


def image_tells_side(looks: Sequence[Look], sides: Sequence[str]) -> Finding | None:
    """Whether the most similar first image of another episode has the same side: then words are not needed."""
    known = [i for i, side in enumerate(sides) if side]
    if len(known) < FEWEST_EPISODES or len({sides[i] for i in known}) < 2:
        return None
    small = np.stack([looks[i].thumbnail.ravel() for i in known])
    squares = (small**2).sum(axis=1)
    distance = squares[:, None] + squares[None] - 2 * small @ small.T
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    own = np.array([sides[i] for i in known])
    told = float((own[nearest] == own).mean())
    base = max(float((own == side).mean()) for side in ("left", "right"))
    gain = (told - base) / max(1 - base, 1e-9)
    severity = Severity.WARNING if told >= TELLS_SIDE and gain >= 0.5 else Severity.GOOD
    return Finding(
        "picture_tells_side",
        severity,
        f"the first image alone tells the side in {told:.0%} of the episodes (guessing: {base:.0%})",
        text="Before the robot moves, the most similar image of another episode already has the same side: the "
        "policy need not read the instruction."
        if severity is Severity.WARNING
        else "Most similar first image of another episode, 24x24 pixels.",
        advice="Record both sides in the same scenes, under the same light.",
        weight=told,
        figures={"nearest_neighbour": told, "guessing": base, "episodes": len(known)},
    )
