"""Coverage-guided fuzzing of what reads files: `python reader_fuzzing.py TARGET FOLDER [options of libFuzzer]`.

FOLDER holds a valid file of each kind. Ends with exit code 0 if every input was read, or refused in one sentence.
Needs the extra `fuzz`.
"""

from __future__ import annotations

import pathlib
import sys
import warnings
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["vla_sim"], enable_loader_override=False):
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.dataset import open_dataset
    from vla_sim.rollout.result import read_results
    from vla_sim.scenarios.reading import read_definitions

Read = Callable[[pathlib.Path], object]


def load(root: pathlib.Path) -> None:
    """All episodes of a data set."""
    for one in open_dataset(root).readable():
        one.loaded()


# By name: the file that is filled with anything, and what reads it.
TARGETS: dict[str, tuple[str, Read]] = {
    "scenario": ("scenario.toml", read_definitions),
    "embodiment": ("embodiment.toml", load_embodiment),
    "results": ("episodes.jsonl", read_results),
    "lerobot_info": ("images/meta/info.json", lambda path: load(path.parents[1])),
    "lerobot_facts": ("images/meta/vla_sim.jsonl", lambda path: load(path.parents[1])),
    "frames_metadata": ("frames/*/metadata.json", lambda path: load(path.parents[1])),
    "dump": ("dump/*_data.json", lambda path: load(path.parent)),
    "hdf5": ("hdf5/*.h5", lambda path: load(path.parent)),
}


def main() -> None:
    """Fuzz one target."""
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    pattern, read = TARGETS[name]
    (path,) = folder.glob(pattern)
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "valid").write_bytes(path.read_bytes())
    warnings.simplefilter("ignore")

    def once(content: bytes) -> None:
        path.write_bytes(content)
        refusal = ""
        try:
            read(path)
        except UserError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert len(refusal) < 2000

    atheris.Setup([sys.argv[0], *sys.argv[3:], str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
