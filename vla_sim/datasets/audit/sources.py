"""Data sets of any format as the audit sees them: read as every command reads them, and refused in the same words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.audit.recorded import EVALUATION, TRAIN, Broken, RecordedEpisode, labels_of
from vla_sim.datasets.base import AS_IT_IS, Dataset, ReadOptions
from vla_sim.datasets.channel_order import AUTO
from vla_sim.datasets.dataset import FORMATS, open_sets
from vla_sim.datasets.serbot.recording import EVALUATION_FOLDERS


def open_folder(folder: Path, split: str = TRAIN, options: ReadOptions = AS_IT_IS) -> list[AuditedSet]:
    """All data sets in a folder, which may be one itself.

    Args:
        folder: where to look.
        split: of episodes for which neither their set nor the name of a folder says another.
        options: how training will read them.

    Raises:
        UserError: there is none, or none can be opened.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    # What is there of a set counts, and the colours are judged as they are stored.
    as_stored = replace(options, as_stored=True, skip_bad=True)
    load = functools.cache(lambda: _episodes_for_training(folder, options))
    return [AuditedSet(one, split, lambda place: load().get(place)) for one in open_sets(folder, as_stored)]


def _episodes_for_training(folder: Path, options: ReadOptions) -> dict[str, Callable[[], Episode]]:
    """What loads each episode as training does, by its place; {} where training must be told more (which camera)."""
    try:
        sets = open_sets(folder, replace(options, skip_bad=True))
    except UserError:
        return {}
    return {
        f"{one.path}/{one.place(i)}": functools.partial(one.examined, i, images=True)
        for one in sets
        for i in range(len(one))
    }


@dataclass(frozen=True)
class AuditedSet:
    """A data set.

    Attributes:
        dataset: it, opened.
        split: of episodes for which nothing says another.
        loading: gives what loads an episode as training does, by the place of the episode.
    """

    dataset: Dataset
    split: str
    loading: Callable[[str], Callable[[], Episode] | None]

    @property
    def source(self) -> Path:
        """See `RecordedSet`."""
        return self.dataset.path

    @property
    def kind(self) -> str:
        """See `RecordedSet`."""
        titles = {one.name: one.title.partition(" (")[0] for one in FORMATS}
        return titles.get(self.dataset.format, self.dataset.format)

    def __iter__(self) -> Iterator[RecordedEpisode | Broken]:
        """See `RecordedSet`."""
        yield from (Broken(self.source.name, fault) for fault in self.dataset.faults)
        for index in range(len(self.dataset)):
            try:
                yield self._recorded(index)
            except UserError as error:
                yield Broken(self.dataset.place(index), str(error))

    def _stated_order(self, index: int) -> str:
        """By the user, else by the set; "" where nobody says."""
        given = self.dataset.options.channel_order
        return self.dataset.declared_order(index) if given == AUTO else given

    def _recorded(self, index: int) -> RecordedEpisode:
        episode, place = self.dataset.episode(index), self.dataset.place(index)
        if episode.provenance.get("instruction_source") == "labels":  # made from the name, not said by the file
            episode = replace(episode, instruction="")
        said = [*Path(place).parts[:-1], str(episode.provenance.get("split", ""))]
        held_out = any(name.lower() in EVALUATION_FOLDERS for name in said)
        labels = {
            **labels_of(episode.provenance),
            "split": EVALUATION if held_out else self.split,
            "channel_order": self._stated_order(index),
            "outcome": episode.outcome.value if episode.outcome else "",
        }
        known = {key: value for key, value in labels.items() if value}
        return RecordedEpisode(episode, known, self.loading(f"{self.source}/{place}"))
