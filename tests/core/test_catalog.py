"""Content by name or path, TOML reading, nearest names."""

import pytest

from vla_sim.core import content as catalog
from vla_sim.core.content import content_folder, embodiment_names, embodiment_path
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.toml_files import read_toml


def test_nearest_name_is_suggested_with_the_allowed_ones():
    assert suggest("serbto", ["lekiwi", "serbot"]) == "did you mean 'serbot'? (allowed: lekiwi, serbot)"


def test_a_name_like_no_other_gets_only_the_list():
    assert suggest("zzz", ["lekiwi", "serbot"]) == "allowed: lekiwi, serbot"
    assert suggest("zzz", []) == "there are none"


def test_long_lists_are_cut():
    assert suggest("x", [f"name_{i}" for i in range(30)]).endswith(", ...")


@pytest.mark.parametrize("kind", ["envs", "scenarios", "policies"])
def test_content_lies_beside_the_package_in_a_checkout(kind):
    assert content_folder(kind).parent == catalog._PACKAGE.parent


def test_content_lies_inside_an_installed_package(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "vla_sim"
    monkeypatch.setattr(catalog, "_PACKAGE", package)
    assert content_folder("envs") == package / "_content" / "envs"


def test_a_folder_of_that_name_beside_an_installed_package_is_left_alone(monkeypatch, tmp_path):
    """`envs` and `policies` are names that other distributions install next to ours."""
    monkeypatch.setattr(catalog, "_PACKAGE", tmp_path / "vla_sim")
    (tmp_path / "envs").mkdir()
    assert content_folder("envs") == tmp_path / "vla_sim" / "_content" / "envs"


@pytest.mark.parametrize("name", embodiment_names())
def test_every_embodiment_name_has_its_file(name):
    assert embodiment_path(name).is_file()


def test_unknown_embodiment_names_the_nearest():
    with pytest.raises(UserError, match="unknown embodiment 'serbto'; did you mean 'serbot'"):
        embodiment_path("serbto")


def test_a_path_is_taken_as_it_is(tmp_path):
    assert embodiment_path(str(tmp_path / "mine.toml")) == tmp_path / "mine.toml"


def test_missing_file_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*gone\.toml: No such file"):
        read_toml(tmp_path / "gone.toml")


@pytest.mark.parametrize("content", [b"a = [1, 2", b"a = 1\na = 2\n", b"\xff\xfe"])
def test_broken_toml_is_the_users_error(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML"):
        read_toml(path)
