"""Recordings of serbot's lab as data sets: HDF5 files and folders of images, see `vla_sim.datasets.dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.datasets.base import AS_IT_IS, Dataset, Format, ReadOptions
from vla_sim.datasets.channel_order import AUTO
from vla_sim.datasets.serbot import formats
from vla_sim.datasets.serbot.dump import ENDING
from vla_sim.datasets.serbot.folder import SerbotFolder
from vla_sim.datasets.serbot.formats import RecordingFormat
from vla_sim.datasets.serbot.frames import ACTIONS_FILE
from vla_sim.datasets.serbot.hdf5 import MAIN
from vla_sim.datasets.serbot.recording import SerbotReading, SerbotRecording


class SerbotDataset(Dataset):
    """Files or folders with one recording each, in the order of their names."""

    def __init__(
        self, path: Path, files: Sequence[Path], options: ReadOptions = AS_IT_IS, *, format_name: str = "hdf5"
    ) -> None:
        super().__init__(path, options)
        self.format = format_name
        root = path.parent if path in files else path
        self._folder = SerbotFolder(root, _reading(options), files=files)

    def __len__(self) -> int:
        return len(self._folder)

    def check(self) -> None:
        """See `Dataset`: channels must not be stored in both orders without a word."""
        if self.options.channel_order == AUTO and not self.options.as_stored:
            _ = self._folder.guessed_order

    def recording(self, index: int) -> SerbotRecording:
        """The recording itself, which knows layout and labels as they are stored."""
        return self._folder[index]

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        return self.recording(index).episode()

    def place(self, index: int) -> str:
        """See `Dataset`."""
        return self._folder.paths[index].relative_to(self._folder.path).as_posix()

    def file(self, index: int) -> Path | None:
        """See `Dataset`; the images of a dump lie beside its file."""
        return self._folder.paths[index] if self.format != "dump" else None

    def declared_order(self, index: int) -> str:
        """See `Dataset`."""
        return str(self.recording(index).facts.ours.get("channel_order", ""))

    def stored_as(self, index: int) -> dict[str, Any]:
        """See `Dataset`: layout, channel order and scale."""
        recording = self.recording(index)
        layout = recording.facts.layout if recording.is_hdf5 else MAIN
        return {"layout": layout, "channel_order": recording.channel_order.order, "scale": recording.scale}

    @property
    def robot(self) -> str:
        """See `Dataset`: what the first recording that can be read says."""
        for index in range(len(self)):
            try:
                return str(self.episode(index).provenance.get("embodiment", ""))
            except UserError:
                continue
        return ""


def _reading(options: ReadOptions) -> SerbotReading:
    """The options as recordings understand them."""
    renamed = options.renamed()
    for option, text in (("action", options.action), ("camera", options.camera), ("feature", options.feature)):
        if text:
            raise UserError(f"--{option} is for sets with named features; serbot's recordings have their places")
    positional = not any("=" in text for text in options.columns)
    return SerbotReading(
        channel_order=options.channel_order,
        columns=tuple(renamed) if renamed and positional else None,
        action_names=tuple(n for n in ACTION_NAMES if n in renamed) or None if positional else None,
        renamed={} if positional else renamed,
        image_px=options.image_px,
        as_stored=options.as_stored,
    )


def _format(name: str, title: str, kind: RecordingFormat) -> Format:
    def opened(path: Path, found: Sequence[Path], options: ReadOptions) -> Dataset:
        return SerbotDataset(path, found, options, format_name=name)

    return Format(name, title, kind.matches, opened)


FORMATS = (
    _format("hdf5", "HDF5 recordings (*.h5, *.hdf5)", formats.HDF5),
    _format("frames", f"folders of images ({ACTIONS_FILE} beside frame_00.jpg ...)", formats.FRAMES),
    _format("dump", f"dumps of recordings (*{ENDING} beside frame_0000.png ...)", formats.DUMP),
)
