"""What is built and shipped: every package, every file beside the code, the licences."""

import fnmatch
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUP = PROJECT["tool"]["setuptools"]
PATTERNS = SETUP["package-data"]["*"]


def packages_on_disk():
    return {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "vla_sim").rglob("__init__.py")}


def test_every_package_is_in_the_wheel():
    assert packages_on_disk() == {name for name in SETUP["packages"] if "_content" not in name}


def test_every_content_folder_is_in_the_wheel():
    assert set(SETUP["package-dir"].values()) == {"envs", "scenarios", "policies"}


@pytest.mark.parametrize("package", sorted(packages_on_disk()))
def test_every_file_beside_the_code_is_in_the_wheel(package):
    folder = ROOT / package.replace(".", "/")
    inner = {ROOT / name.replace(".", "/") for name in packages_on_disk()}
    for path in folder.rglob("*"):
        owner = next(parent for parent in path.parents if parent in inner)
        if path.is_dir() or owner != folder or "__pycache__" in path.parts or path.suffix == ".py":
            continue
        name = str(path.relative_to(folder))
        assert any(fnmatch.fnmatch(name, pattern) for pattern in PATTERNS), f"{path} would be missing in the wheel"


def test_licences_are_shipped():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    texts = [(ROOT / name).read_text("utf-8") for name in PROJECT["project"]["license-files"]]
    assert "Apache License" in texts[0]
    assert "SIL OPEN FONT LICENSE" in texts[1]


def test_source_archive_holds_what_wheel_tests_and_documents_need():
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8").split()
    for name in ("envs", "scenarios", "policies", "vla_sim", "recipes", "tests", "docs", "CHANGELOG.md", "Makefile"):
        assert name in manifest
        assert (ROOT / name).exists()


def names_of(requirements):
    return {re.split(r"[^A-Za-z0-9_-]", text)[0].lower() for text in requirements}


def test_every_dependency_is_explained_pinned_and_imported():
    explained = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    pinned = names_of((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    code = "".join(path.read_text("utf-8") for path in (ROOT / "vla_sim").rglob("*.py"))
    modules = {
        "open_clip_torch": "open_clip",
        "pillow": "PIL",
        "stable-baselines3": "stable_baselines3",
        "panda3d": "panda3d",
        "moviepy": "pygame",  # imported by gymnasium's RecordVideo
    }
    extras = [
        text
        for name, texts in PROJECT["project"]["optional-dependencies"].items()
        if name not in ("dev", "fuzz")  # nothing of the package imports these
        for text in texts
    ]
    for name in sorted(names_of([*PROJECT["project"]["dependencies"], *extras])):
        assert re.search(rf"\b{name}\b", explained), f"{name} is not in the table of docs/architecture.md"
        assert name.replace("_", "-") in pinned | {"tomli"}, f"{name} is not in constraints.txt"
        module = modules.get(name, name)
        assert re.search(rf"(import|from) {module}\b|\"{module}\"", code), f"{name} is not imported by anything"
