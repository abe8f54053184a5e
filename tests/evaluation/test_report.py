import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from evaluation_fakes import make_drive, make_record, make_scene

from vla_sim.core.types import Outcome, Side
from vla_sim.evaluation.reporting.report import MAX_FAILURES, VideoRef, render_report, write_report
from vla_sim.evaluation.summary import summarise


class Tags(HTMLParser):
    """Checks that tags are closed in order and collects addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.names = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "br", "rect", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render(records, tmp_path, *, videos=(), provenance=None, **options):
    text = render_report(summarise(records, provenance or {}), records, list(videos), tmp_path, **options)
    tags = Tags(text)
    assert tags.open == []
    return text, tags


def mixed(n=6):
    return [
        *(make_drive(100000 + i, side=side, policy=p) for p in ("a", "b") for side in Side for i in range(n)),
        *(make_drive(200000 + i, policy="a", outcome=o) for i, o in enumerate(Outcome)),
    ]


def test_report_is_one_file_without_addresses_or_scripts(tmp_path):
    text, tags = render(mixed(), tmp_path)
    assert tags.addresses == []
    assert "script" not in tags.names
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_every_outcome_policy_and_interval_is_shown(tmp_path):
    text, _ = render(mixed(), tmp_path)
    for word in ("wrong side", "wrong goal", "out of bounds", "timeout", "collision", "error"):
        assert word in text
    assert "Does it listen?" in text
    assert "Policies against each other" in text
    assert "McNemar" in text


def test_hostile_text_is_escaped_everywhere(tmp_path):
    evil = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    records = [
        make_drive(1, policy=evil, scenario=evil, instruction=evil, language=evil, embodiment=evil, suite=evil),
        make_drive(2, policy=evil, scenario=evil, instruction=evil, outcome="collision", collision_partner=evil),
        make_drive(3, policy="b" + evil, scenario=evil, outcome="error", error=evil),
        make_drive(1, policy="b" + evil, scenario=evil, outcome="error", error=evil),
    ]
    videos = [VideoRef(records[0], tmp_path / "videos" / (evil.replace("/", "") + ".mp4"))]
    videos.append(VideoRef(records[0], tmp_path.parent / "elsewhere" / evil))
    text, tags = render(records, tmp_path, videos=videos, provenance={evil: evil, "nested": {evil: [evil]}})
    assert "script" not in tags.names
    assert "img" not in tags.names
    assert not re.search(r"<(script|img)", text)
    assert "{{ 7 * 7 }}" in text
    assert all(address.startswith("./videos/") for address in tags.addresses)


def test_without_failures_it_says_so(tmp_path):
    text, _ = render([make_drive(i) for i in range(3)], tmp_path)
    assert "every one of the 3 episodes succeeded" in text
    assert "Failures from above" not in text


def test_no_episodes_at_all_still_make_a_report(tmp_path):
    text, _ = render([], tmp_path)
    assert "No episode ran" in text


def test_planned_but_unrun_pairs_are_marked(tmp_path):
    summary = summarise([make_drive(1)], {}, planned={("ensemble", "obstacle_left"): 4, ("x", "y"): 4})
    text = render_report(summary, [make_drive(1)], [], tmp_path)
    assert "Not complete" in text
    assert "1 of 4" in text


def test_interrupted_run_is_marked(tmp_path):
    assert "Not complete" in render([make_drive(1)], tmp_path, provenance={"complete": False})[0]
    assert "Not complete" not in render([make_drive(1)], tmp_path, provenance={"complete": True})[0]


def test_policies_that_read_ground_truth_are_marked(tmp_path):
    mark = 'class="tag"'
    assert mark in render([make_drive(1, privileged=True)], tmp_path)[0]
    assert mark not in render([make_drive(1)], tmp_path)[0]


def test_failures_come_with_their_replay_command(tmp_path):
    text, _ = render([make_drive(100003, policy="my policy", outcome="collision")], tmp_path)
    assert f"python -m vla_sim.replay {tmp_path} &#39;my policy/obstacle_left/100003&#39;" in text


def test_korean_is_kept_and_marked_as_such(tmp_path):
    record = make_drive(1, instruction="상자 왼쪽으로 지나가", language="ko", outcome="timeout")
    path = tmp_path / "report.html"
    write_report(summarise([record], {}), [record], [], path)
    text = path.read_text(encoding="utf-8")
    assert 'lang="ko">상자 왼쪽으로 지나가<' in text
    (font,) = re.findall(r"url\(.([^)]*).\)", text)
    assert font.startswith("data:font/ttf;base64,"), "a browser may lack a font with Hangul"
    assert len(font) < 20_000


def test_equal_tracebacks_are_shown_once_and_cut(tmp_path):
    records = [make_drive(i, outcome="error", error="x" * 50000 + "\nValueError: same") for i in range(30)]
    text, _ = render(records, tmp_path)
    assert text.count("<pre>") == 1
    assert "30 ×" in text
    assert len(text) < 300_000


def test_ten_thousand_episodes_stay_below_five_megabytes(tmp_path):
    drives = [make_drive(i, outcome=o, steps=30, policy=f"p{i % 10}") for o in Outcome for i in range(10)]
    records = [replace(drives[i % 70], seed=i, scenario=f"s{i % 3}_left") for i in range(10_000)]
    path = tmp_path / "report.html"
    write_report(summarise(records, {}), records, [], path)
    assert path.stat().st_size < 5e6
    text = path.read_text(encoding="utf-8")
    assert f"the first {MAX_FAILURES} of them" in text


def test_films_in_the_folder_are_linked_and_others_named(tmp_path):
    record = make_drive(1, outcome="timeout")
    inside, outside = tmp_path / "videos" / "a b.mp4", tmp_path.parent / "other.mp4"
    text, tags = render([record], tmp_path, videos=[VideoRef(record, inside), VideoRef(record, outside)])
    assert tags.addresses == ["./videos/a%20b.mp4"]
    assert str(outside) in text


def test_close_ups_show_obstacles_of_known_worlds(tmp_path):
    record = make_drive(1, outcome="collision", collision_partner="box_0")
    with_scene, _ = render([record], tmp_path, scenes={("obstacle_left", 1): make_scene()})
    without, _ = render([record], tmp_path)
    assert 'class="body obstacle hit"' in with_scene
    assert 'class="body' not in without


def test_episodes_without_a_path_are_no_obstacle(tmp_path):
    record = make_record(outcome="error", steps=0, path=(), actions=(), sim_time_s=0, path_length_m=0)
    text, _ = render([record], tmp_path)
    assert "All paths" not in text
    assert "ValueError: action is nan" in text


def test_same_input_gives_the_same_report(tmp_path):
    assert render(mixed(), tmp_path)[0] == render(mixed(), tmp_path)[0]


def test_failed_write_leaves_the_old_report(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(KeyError):
        write_report({"results": []}, [], [], path)
    assert path.read_text() == "old"


def test_worlds_of_different_difficulty_are_shown_by_thirds(tmp_path):
    records = [
        replace(r, extra={**r.extra, "difficulty": 0.1 * i})
        for i, r in enumerate(make_record(seed=s) for s in range(12))
    ]
    text, _ = render(records, tmp_path)
    assert "By difficulty of the world" in text
    assert "0.00 to 0.40" in text
    alike = [replace(r, extra={**r.extra, "difficulty": 1.0}) for r in records]
    assert "By difficulty of the world" not in render(alike, tmp_path)[0]
