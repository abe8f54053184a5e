"""The hash of a policy covers every file that decides what it does."""

import sys

import pytest

from vla_sim.policies.identity import FilesRead, Identity, find_module, imported_sources
from vla_sim.policies.registry import hashed_files, load_policy, policy_hash, policy_names


@pytest.mark.parametrize("name", policy_names())
def test_the_hash_of_a_shipped_policy_covers_every_file_that_it_reads(name):
    everything, uncovered = FilesRead(), FilesRead(hashed_files(name))
    with everything, uncovered:
        load_policy(name)
    assert everything.new(), "a policy folder has at least a config"
    assert not uncovered.new()


@pytest.mark.parametrize("name", policy_names())
def test_every_hashed_file_is_part_of_the_hash(name, tmp_path, monkeypatch):
    """As if a byte of one of them had changed: the hash is another."""
    from vla_sim.policies import folders, registry
    from vla_sim.policies.checkpoints import files
    from vla_sim.policies.identity import file_sha256

    before = policy_hash(name)
    for changed in {path.resolve() for path in hashed_files(name)}:
        for module in (folders, registry, files):
            monkeypatch.setattr(
                module,
                "file_sha256",
                lambda path, changed=changed: "0" * 64 if path.resolve() == changed else file_sha256(path),
            )
        assert policy_hash(name) != before, changed


def test_imports_are_followed_through_packages_and_not_into_installed_ones(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import first\n")
    (package / "first.py").write_text("import numpy\nfrom .inner.second import thing\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "second.py").write_text("from ... import nothing\nfrom .. import third\nimport torch.nn\n")
    (package / "third.py").write_text("this is no Python\n")
    (package / "unused.py").write_text("")
    (tmp_path / "mine_imports.py").write_text("def f():\n    from my_package import first\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert set(imported_sources("mine_imports")) == {
        *("my_package", "my_package.first", "my_package.inner", "my_package.inner.second", "my_package.third"),
    }
    assert not [name for name in sys.modules if name.startswith("my_package")], "nothing is run"
    assert find_module("my_package.no_such") is None


def test_an_identity_is_that_of_the_code_until_files_are_read(tmp_path):
    alone = Identity("a" * 64)
    assert alone.hash == "a" * 64
    file = tmp_path / "weights.bin"
    file.write_bytes(b"1")
    (tmp_path / "mine.egg-info").mkdir()
    (tmp_path / "mine.egg-info" / "entry_points.txt").touch()
    read = FilesRead()
    with read:
        file.read_bytes()
        (tmp_path / "log.txt").write_text("what it did")
        (tmp_path / "log.txt").read_text()
        (tmp_path / "mine.egg-info" / "entry_points.txt").read_text()
    found = read.new()
    assert list(found) == [str(file.resolve())]
    assert not read.new()
    more = alone.with_files(found)
    assert more.hash != alone.hash
    assert more.changed_file() is None
    file.write_bytes(b"2")
    assert more.changed_file() == str(file.resolve())
    file.unlink()
    assert more.changed_file() == str(file.resolve())
