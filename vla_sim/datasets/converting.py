"""One data set written anew in another format. Used by the command `convert`."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

from vla_sim.datasets.base import ReadOptions
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.store import content_hash
from vla_sim.datasets.writing import Contents, WriteOptions, is_complete, refuse_inside, write_dataset

log = logging.getLogger(__name__)


def convert(source: Path, out: Path, reading: ReadOptions, writing: WriteOptions) -> int:
    """Write all episodes of `source` to `out`; those that an interrupted run completed are kept.

    Returns:
        How many episodes the new set has.

    Raises:
        UserError: an episode cannot be read (and `reading.skip_bad` is off) or cannot be written in this format.
    """
    dataset = open_dataset(source, reading).readable()
    refuse_inside(out, source)
    plan = {
        "kind": "conversion",
        "source_sha256": content_hash(source),
        **asdict(replace(reading, skip_bad=False)),
        "episodes": len(dataset),
    }
    if is_complete(out, plan, writing):
        log.info(f"{out}: it was complete already")
        return len(dataset)
    with write_dataset(out, plan, writing, Contents.of(dataset)) as writer:
        for index in range(len(dataset)):
            if index not in writer:
                # Files of other formats say nothing of theirs: the usual arrangement.
                own = dataset.stored_as(index) if writing.format == dataset.format else {}
                writer.put(index, dataset[index].loaded(), own)
        writer.finish()
    return len(dataset)
