"""The real LeRobot loads what we write, and we read what it writes.

It needs CPython 3.12 and some gigabytes of packages, so it has an environment of its own: in the folder that
$VLA_SIM_LEROBOT_ENV names, where it is made if it is missing, else in the user's cache, where it is only used if it is
there already. So nothing is downloaded unless somebody asks for it. Where there is none, these tests are skipped and
say why.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
pytest.importorskip("av")

import pyarrow.parquet as parquet
from lerobot_episodes import episode

from vla_sim.datasets.lerobot import LeRobotReader, LeRobotWriter
from vla_sim.datasets.lerobot.stats import as_lists, image_stats, pooled_stats

PROBE = Path(__file__).with_name("lerobot_probe.py")
REQUIREMENT = "lerobot[dataset]>=0.6,<0.7"
# What the environment takes, with the packages of PyTorch that pip chooses.
NEEDED_GB = 12
NEEDED_MODULE = "lerobot.datasets.lerobot_dataset"
INSTALL_S = 1800
NUMBERS = range(3)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def python312():
    """An interpreter to make the environment from."""
    versions = sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python"))
    for found in [*versions, shutil.which("python3.12")]:
        if (
            found
            and subprocess.run([found, "-c", "import sys; assert sys.version_info[:2] == (3, 12)"]).returncode == 0
        ):
            return found
    return None


def works(folder):
    """Whether the real LeRobot can be imported there."""
    python = folder / "bin/python"
    found = python.exists() and subprocess.run([python, "-c", f"import {NEEDED_MODULE}"], capture_output=True)
    return bool(found) and found.returncode == 0


def environment():
    """Folder of the environment; made if it is asked for and not there."""
    given = os.environ.get("VLA_SIM_LEROBOT_ENV")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(given) if given else cache / "vla_sim" / "lerobot_env"
    if works(folder):
        return folder
    if not given:
        pytest.skip(f"no environment with the real LeRobot; VLA_SIM_LEROBOT_ENV={folder} has it made ({NEEDED_GB} GB)")
    base = python312()
    if base is None:
        pytest.skip("the real LeRobot needs CPython 3.12, and none was found")
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        pytest.skip(f"VLA_SIM_LEROBOT_ENV={folder} holds other files")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder.parent).free / 2**30) < NEEDED_GB:
        pytest.skip(f"the real LeRobot's environment needs {NEEDED_GB} GB of disk, {free:.0f} are free")
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    install = [folder / "bin/pip", "install", "-q", "--retries", "1", REQUIREMENT]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{REQUIREMENT} was not installed within {INSTALL_S} s")
    if done.returncode or not works(folder):
        pytest.skip(f"{REQUIREMENT} could not be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return folder


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the real LeRobot saw in our set, and the folders of ours and of those that it wrote."""
    if sys.platform != "linux":
        pytest.skip("tried on Linux only")
    python = environment() / "bin/python"
    folder = tmp_path_factory.mktemp("lerobot")
    ours, films, pictures, result = (folder / name for name in ("ours", "films", "pictures", "result"))
    with LeRobotWriter(ours, 5, "serbot") as writer:
        for number in NUMBERS:
            writer.add(episode(number, steps=12 + number, size=64))
    done = subprocess.run(
        [python, PROBE, ours, films, pictures, result],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(result.with_suffix(".json").read_text())
    arrays = dict(np.load(result.with_suffix(".npz")))
    return {"ours": ours, "films": films, "pictures": pictures, "facts": facts, "arrays": arrays}


def frames(attribute):
    """An attribute of all episodes, each step twice."""
    parts = [np.repeat(getattr(episode(n, steps=12 + n, size=64), attribute)[: 12 + n], 2, axis=0) for n in NUMBERS]
    return np.concatenate(parts)


def test_it_indexes_our_set(seen):
    facts = seen["facts"]
    print(f"lerobot {facts['version']} loaded {facts['frames']} frames")
    assert (facts["frames"], facts["episodes"], facts["fps"]) == (78, 3, 5)
    assert facts["tasks"] == [episode(n).instruction for n in NUMBERS for _ in range(2 * (12 + n))]
    assert facts["index"] == [
        [n, frame, 2 * sum(range(12, 12 + n)) + frame] for n in NUMBERS for frame in range(2 * (12 + n))
    ]
    assert facts["batch"]["observation.image"] == [8, 3, 64, 64]
    assert facts["batch"]["action"] == [8, 2]
    assert facts["ahead"] == {"frames": 26, "shape": [3, 2]}
    assert {"action", "observation.image", "observation.state"} <= set(facts["stats"])
    np.testing.assert_array_equal(seen["arrays"]["action"], frames("actions"))


def test_it_decodes_the_frame_of_each_step(seen):
    given = frames("images").astype(int)
    decoded = seen["arrays"]["pictures"].astype(int)
    # A frame early or late would show the moving block elsewhere: no other frame of the set may be nearer.
    off = np.abs(decoded[:, None, ::2, ::2] - given[None, ::2, ::2, ::2]).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(off.argmin(axis=1), np.arange(len(given)) // 2)
    assert np.abs(decoded - given).mean(axis=(1, 2, 3)).max() < 2
    # Our reader gives the first frame of each step. (The second one was compressed anew, so it may differ a little.)
    ours = np.concatenate([e.images for e in LeRobotReader(seen["ours"])])
    assert np.abs(decoded[::2] - ours).max() <= 2


@pytest.mark.parametrize("kind", ["films", "pictures"])
def test_we_read_what_it_writes(seen, kind):
    reader = LeRobotReader(seen[kind])
    assert (len(reader), reader.fps) == (3, 5)
    reads = list(reader)
    np.testing.assert_array_equal(np.concatenate([r.actions for r in reads]), frames("actions"))
    assert [r.instruction for r in reads] == [episode(n).instruction for n in NUMBERS]
    off = np.abs(np.concatenate([r.images for r in reads]).astype(int) - seen["arrays"]["pictures"]).mean()
    assert off == 0 if kind == "pictures" else off < 3


def test_our_files_have_the_columns_of_its_own(seen):
    def table(name, path):
        return parquet.read_schema(seen[name] / path)

    for path in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        ours, theirs = table("ours", path), table("films", path)
        assert set(ours.names) == set(theirs.names)
        assert {n: str(ours.field(n).type) for n in ours.names if not n.startswith("stats/")} == {
            n: str(theirs.field(n).type) for n in theirs.names if not n.startswith("stats/")
        }
    infos = [json.loads((seen[name] / "meta/info.json").read_text()) for name in ("ours", "films")]
    assert set(infos[0]) == set(infos[1])
    for key in ("codebase_version", "fps", "total_episodes", "total_frames", "total_tasks", "splits", "data_path"):
        assert infos[0][key] == infos[1][key], key


def test_our_statistics_are_its_own(seen):
    ours, theirs = (json.loads((seen[name] / "meta/stats.json").read_text()) for name in ("ours", "pictures"))
    assert set(ours) == set(theirs)
    # It wrote images decoded from our films: what we would say of those. Its quantiles come from 5,000 bins.
    decoded = np.split(seen["arrays"]["pictures"], np.cumsum([2 * (12 + n) for n in NUMBERS])[:-1])
    ours["observation.image"] = as_lists(pooled_stats([image_stats(images) for images in decoded]))
    for feature, values in theirs.items():
        assert set(ours[feature]) == set(values)
        tolerance = 1e-3 * (1 + np.abs(values["max"]).max())
        for name, value in values.items():
            np.testing.assert_allclose(ours[feature][name], value, atol=tolerance, err_msg=f"{feature} {name}")
