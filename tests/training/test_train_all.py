"""One command for all trainings: which parts, in which order, told what."""

import json

import pytest

from recipes import train_all, train_rooms, train_shipped, train_turning, train_zoo
from vla_sim import benchmark


@pytest.fixture
def asked(monkeypatch):
    """What each recipe was asked for, in turn, with the options that it understood."""
    found = []
    for module, name in (
        *((train_shipped, "_run"), (train_turning, "_run"), (train_rooms, "_run"), (train_zoo, "_run")),
        (benchmark, "run"),
    ):
        label = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, name, lambda options, label=label: found.append((label, options)) or 0)
    return found


def policy(folder, name, **config):
    (folder / "policies" / name).mkdir(parents=True)
    text = json.dumps({"format": 1, "type": "vla", "description": "x", **config})
    (folder / "policies" / name / "config.json").write_text(text)


def test_parts_come_in_order_share_their_options_and_build_on_one_another(asked, tmp_path):
    numbers = ["--seed", "3", "--scale", "0.5", "--workers", "1", "--threads", "1"]
    assert train_all.main(["--out", str(tmp_path), *numbers]) == 0
    shipped, turning, rooms, zoo, cards = asked
    assert [name for name, _ in asked] == ["train_shipped", "train_turning", "train_rooms", "train_zoo", "train_zoo"]
    for _, options in asked[:4]:
        assert (options.seed, options.scale, options.workers, options.threads) == (3, 0.5, 1, 1)
        assert options.publish == tmp_path / "policies"
    last = tmp_path / "shipped" / train_shipped.ROUNDS[-1].name / "clip_lstm"
    assert turning[1].begin == rooms[1].begin == str(last)
    assert zoo[1].data == shipped[1].out / "data"
    assert len({options.out for _, options in asked[:4]}) == 4
    assert cards[1].cards == ()


def test_cards_come_from_a_benchmark_of_each_robot_in_its_suites_and_a_begun_one_goes_on(asked, tmp_path):
    policy(tmp_path, "clip_lstm")
    policy(tmp_path, "turning_lstm", training={"robots": ["lekiwi", "diffbot"]})
    policy(tmp_path, "rooms_lstm", training={"robots": ["serbot_lidar"]})
    policy(tmp_path, "clip_small", type="vla_backbone")
    begun = tmp_path / "benchmark" / "serbot"
    (begun / "closed_loop").mkdir(parents=True)
    (begun / "closed_loop" / "run.json").write_text("{}")
    assert train_all.main(["--out", str(tmp_path), "--parts", "cards", "--publish", str(tmp_path / "there")]) == 0
    by_robot = {options.embodiment: options for name, options in asked if name == "benchmark"}
    assert [path.rpartition("/")[2] for path in by_robot["lekiwi"].policy] == ["turning_lstm"]
    assert by_robot["lekiwi"].suite == ("core",)
    assert by_robot["serbot_lidar"].suite == ("rooms", "people")
    assert by_robot["serbot"].resume == begun
    assert len(asked[-1][1].cards) == 3
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        *("clip_lstm", "clip_small", "rooms_lstm", "turning_lstm")
    ]


def test_what_fails_ends_it_and_nothing_is_published(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(train_turning, "_run", lambda options: 3)
    policy(tmp_path, "clip_lstm")
    assert train_all.main(["--out", str(tmp_path), "--publish", str(tmp_path / "there")]) == 3
    assert [name for name, _ in asked] == ["train_shipped"]
    assert not (tmp_path / "there").exists()


def test_an_unknown_part_is_answered_with_the_nearest(tmp_path, capsys):
    assert train_all.main(["--out", str(tmp_path), "--parts", "shiped"]) == 2
    assert "'shipped'" in capsys.readouterr().err
