"""A film that cannot be made costs the film: table, report and exit code are as without it."""

import errno

import pytest

from vla_sim import eval as command
from vla_sim.evaluation.reporting import films, finish

RUN = "--policy hold --scenario obstacle_left --episodes 2 --video all --out".split()


def broken_codec(*arguments, **options):
    raise OSError(errno.EIO, "could not encode: no such codec")


def full_disk(path, *arguments, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    raise OSError(errno.ENOSPC, "No space left on device")


def no_memory(*arguments, **options):
    raise MemoryError


@pytest.mark.parametrize("fault", [broken_codec, full_disk, no_memory])
def test_a_film_that_fails_costs_the_film(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(films, "write_video", fault)
    assert command.main([*RUN, str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "hold" in said.out
    assert "2 of 2 films could not be made" in said.err
    assert "Traceback" not in said.err
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert report.count("No film of hold") == 2
    assert "<video" not in report


def test_table_and_report_are_there_before_the_first_film(tmp_path, monkeypatch, capsys):
    seen = []

    def look(plan, records, folder):
        seen.append(((tmp_path / "run" / "report.html").is_file(), "success" in capsys.readouterr().out))
        return [], []

    monkeypatch.setattr(finish, "make_films", look)
    assert command.main([*RUN, str(tmp_path / "run")]) == 0
    assert seen == [(True, True)]


def test_films_of_policies_that_differ_in_special_characters_are_all_kept(tmp_path):
    import shutil

    from vla_sim.core.content import content_folder

    for name in ("a b", "a-b"):
        shutil.copytree(content_folder("policies") / "hold", tmp_path / name / "hold")
    both = [str(tmp_path / "a b" / "hold"), str(tmp_path / "a-b" / "hold")]
    out = tmp_path / "run"
    assert (
        command.main(
            ["--policy", *both, "--scenario", "obstacle_left", "--episodes", "1", "--video", "all", "--out", str(out)]
        )
        == 0
    )
    found = sorted(path.name for path in (out / "videos").iterdir())
    assert len(found) == 2
    assert (out / "report.html").read_text("utf-8").count("<video") == 2
    for name in found:
        assert f"./videos/{name}" in (out / "report.html").read_text("utf-8")
