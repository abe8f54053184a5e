"""A contact sheet: a recording and its copies, one below the other, to be looked at before anyone trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.files import clear_errors

ENDINGS = (".jpg", ".jpeg", ".png")
_GAP_PX, _TITLE_PX, _QUALITY = 4, 15, 85


def check_sheet(path: Path) -> None:
    """Refuse names of files that are no images.

    Raises:
        UserError: says which endings are.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: a contact sheet ends in {', '.join(ENDINGS)}")


def write_sheet(
    path: Path, rows: Sequence[tuple[str, Episode]], *, images: int = 4, side_px: int = 112, columns: int = 2
) -> None:  # fmt: skip
    """Write the sheet.

    Args:
        path: of a JPEG or PNG file.
        rows: title and episode.
        images: of each episode, from first to last.
        side_px: height of each.
        columns: rows that stand beside each other.

    Raises:
        UserError: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    strips = [_strip(episode, images, side_px) for _, episode in rows]
    width, height = max(strip.shape[1] for strip in strips) + 2 * _GAP_PX, side_px + _TITLE_PX + 2 * _GAP_PX
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (width * columns, height * lines), "white")
    pen = ImageDraw.Draw(sheet)
    for index, ((title, _), strip) in enumerate(zip(rows, strips, strict=True)):
        left, top = width * (index // lines) + _GAP_PX, height * (index % lines) + _GAP_PX
        pen.text((left, top), title, fill="black")
        sheet.paste(Image.fromarray(strip), (left, top + _TITLE_PX))
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, quality=_QUALITY)


def _strip(episode: Episode, images: int, side_px: int) -> np.ndarray:
    """Some images beside each other, uint8 (side_px, width, 3)."""
    from PIL import Image

    height, width = episode.images.shape[1:3]
    size = (round(side_px * width / height), side_px)
    steps = np.linspace(0, len(episode.images) - 1, images).round().astype(int)
    parts = [np.asarray(Image.fromarray(episode.images[step]).resize(size)) for step in steps]
    gap = np.full((side_px, 2, 3), 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)
