"""The checks of the audit one by one, on recordings in memory: each fault gives its finding, its absence none."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from vla_sim.datasets.audit.examine import examine
from vla_sim.datasets.audit.recorded import Broken


@dataclass
class Drive:
    """A recording without images."""

    name: str
    actions: np.ndarray
    instruction: str = ""
    labels: dict = field(default_factory=dict)
    action_names: tuple = ("vx", "vy")
    step_s: float = 0.4
    events: tuple | None = None

    def image(self, t):
        raise AssertionError("images are not looked at here")


@dataclass
class Drives:
    """A set in memory."""

    drives: list
    source: Path = Path("memory")
    kind: str = "memory"

    def __iter__(self):
        return iter(self.drives)


def swing(number, side="left", steps=14):
    """A smooth drive around something, different for each number."""
    rng = np.random.default_rng([number, side == "left"])
    sign = 1 if side == "left" else -1
    start, width = rng.uniform(1, 4), rng.uniform(2, 4)
    t = np.arange(steps)
    vy = sign * (np.exp(-(((t - start) / width) ** 2)) - np.exp(-(((t - start - 2 * width) / width) ** 2)))
    actions = np.stack([np.full(steps, 1.0), vy], axis=1) + 0.05 * rng.normal(size=(steps, 2))
    return np.concatenate([actions, np.zeros((1, 2))])


def good(count=40, **labels):
    sides = [("left", "right")[i % 2] for i in range(count)]
    return [
        Drive(
            f"drive{i}", swing(i, side), f"pass on the {side} side", {"side": side, "scenario": f"box_{side}", **labels}
        )
        for i, side in enumerate(sides)
    ]


def found(drives, code):
    audit = examine([Drives(drives)], with_images=False)
    return next((f for f in audit.findings if f.code == code), None)


def severity(drives, code):
    finding = found(drives, code)
    return finding.severity.value if finding else "absent"


def test_good_drives_pass_every_check():
    audit = examine([Drives(good())], with_images=False)
    assert {f.code: f.severity.value for f in audit.findings if f.severity.value in ("critical", "warning")} == {}
    assert audit.verdict == "no fault found"


@pytest.mark.parametrize(("share", "expected"), [(0.0, "good"), (0.25, "warning"), (0.75, "critical")])
def test_repeated_drives_weigh_by_their_share(share, expected):
    drives = good()
    for i in range(round(share * 40)):
        drives[i].actions = swing(0, ("left", "right")[i % 2])
    assert severity(drives, "duplicate_sequences") == expected


def test_drives_that_differ_by_a_hair_are_near_duplicates_and_not_duplicates():
    rng = np.random.default_rng(0)
    drives = good()
    for i, drive in enumerate(drives):
        drive.actions = swing(i % 2, ("left", "right")[i % 2]) + 0.02 * rng.uniform(-1, 1, (15, 2))
    assert severity(drives, "duplicate_sequences") == "good"
    assert severity(drives, "near_duplicates") == "warning"


def test_drives_that_start_a_step_later_are_near_duplicates():
    drives = good(20)
    for i, drive in enumerate(drives):
        drive.actions = np.concatenate([swing(0, "left")[:1]] * (i % 3) + [swing(0, "left")])
    assert found(drives, "near_duplicates") is None  # three different ones are too few to speak of nearness
    assert severity(drives, "duplicate_sequences") == "critical"


def test_keys_pressed_by_the_clock_are_found_though_no_two_drives_are_equal():
    rng = np.random.default_rng(1)
    drives = good()
    for drive in drives:
        side = 1 if drive.labels["side"] == "left" else -1
        actions = np.array([[1, 0]] * 5 + [[1, side]] * 5 + [[1, -side]] * 5 + [[1, 0]] * 15, float)
        step = rng.integers(30)
        actions[step] = (0, 1 - 2 * (step % 2))
        drive.actions = actions
    assert severity(drives, "clock_determinism") == "critical"
    assert severity(good(), "clock_determinism") == "good"


def test_sentences_dealt_out_at_random_tell_nothing():
    rng = np.random.default_rng(2)
    drives = good(60)
    for drive, number in zip(drives, rng.permutation(60), strict=True):
        drive.instruction = f"pass on the {('left', 'right')[number % 2]} side"
    assert severity(drives, "instruction_information") == "critical"
    told = found(good(60), "instruction_information")
    assert told.severity.value == "good"
    assert told.figures["p_value"] < 0.01
    assert told.figures["bits"] > 0.1


def test_words_in_two_languages_are_grouped_by_the_side_they_name():
    drives = good()
    for i, drive in enumerate(drives):
        drive.labels = {}
        if i % 4 > 1:
            side = ("왼쪽", "오른쪽")[i % 2]
            drive.instruction = f"{i}번 상자의 {side}으로 지나가세요"
        else:
            drive.instruction = f"pass box {i} on the {('left', 'right')[i % 2]}"
    assert found(drives, "side_balance").figures == {"left": 20, "right": 20, "unknown": 0}
    assert found(drives, "instruction_information").figures["grouped_by"] == "side"
    assert severity(drives, "instruction_information") == "good"


@pytest.mark.parametrize(("given", "expected"), [(None, "warning"), ("go", "warning")])
def test_missing_and_single_sentences_are_found(given, expected):
    drives = good()
    for drive in drives:
        drive.instruction, drive.labels = given or "", {}
    assert severity(drives, "instruction_information") == expected


@pytest.mark.parametrize(("lefts", "expected"), [(20, "good"), (10, "warning"), (2, "critical"), (0, "critical")])
def test_the_rarer_side_decides(lefts, expected):
    lefts_first = sorted(good(80), key=lambda drive: drive.labels["side"])
    assert severity(lefts_first[40 - lefts : 80 - lefts], "side_balance") == expected


@pytest.mark.parametrize(("wrong", "expected"), [(0, "good"), (2, "warning"), (20, "critical")])
def test_drives_to_the_other_side_than_their_label_are_found(wrong, expected):
    drives = good()
    for drive in drives[:wrong]:
        drive.actions = drive.actions * [1, -1]
    assert severity(drives, "side_mismatch") == expected


@pytest.mark.parametrize("turn_rad", [-2.0, -0.6, 0.6, 2.0])
def test_the_side_of_a_robot_that_turns_is_told_at_the_heading_of_its_start(turn_rad):
    """The same ways through the room, turning meanwhile: sideways to the body is something else then."""
    recorded = []
    for number in range(12):
        side = ("left", "right")[number % 2]
        ways = swing(number, side)
        wz = np.full(len(ways), turn_rad / (0.4 * len(ways)))
        yaw = (wz.cumsum() - wz / 2) * 0.4
        vx = ways[:, 0] * np.cos(yaw) + ways[:, 1] * np.sin(yaw)
        vy = ways[:, 1] * np.cos(yaw) - ways[:, 0] * np.sin(yaw)
        actions = np.stack([vx, vy, wz], axis=1)
        recorded.append(Drive(f"e{number}", actions, f"Pass it on the {side}.", action_names=("vx", "vy", "wz")))
    assert severity(recorded, "side_mismatch") == "good"


def test_uneven_scenarios_and_failed_drives_are_found():
    drives = good()
    for i, drive in enumerate(drives):
        drive.labels |= {"scenario": "rare" if i < 4 else "common", "outcome": "collision" if i < 10 else "success"}
    assert severity(drives, "scenario_balance") == "warning"
    assert found(drives, "outcomes").title == "10 of 40 episodes failed (10 collision)"
    assert severity(drives, "outcomes") == "warning"


def test_standing_still_is_found_where_it_happens():
    drives = good()
    for drive in drives:
        drive.actions = np.concatenate([np.zeros((5, 2)), drive.actions[:-1]])
    assert severity(drives, "stop_share") == "warning"
    assert severity(drives, "first_frame_zeros") == "warning"
    assert severity(good(), "first_frame_zeros") == "absent"


@pytest.mark.parametrize(("stopping", "expected"), [(0, "critical"), (1, "warning"), (19, "warning"), (20, "absent")])
def test_demonstrations_that_do_not_stop_at_the_goal_cannot_teach_the_task(stopping, expected):
    """Real recordings too: what none of them shows is not learned."""
    drives = good()
    for drive in drives[stopping:]:
        drive.actions = drive.actions[:-1]
    assert severity(drives, "no_final_stop") == expected


@pytest.mark.parametrize(
    ("facts", "expected"), [({"success": "reached"}, "note"), ({"success": "stopped"}, "critical")]
)
def test_where_reaching_is_enough_a_missing_stop_is_a_note(facts, expected):
    drives = good(**facts)
    for drive in drives:
        drive.actions = drive.actions[:-1]
    assert severity(drives, "no_final_stop") == expected


def test_failed_episodes_need_not_stop():
    drives = good()
    for drive in drives[:30]:
        drive.actions, drive.labels["outcome"] = drive.actions[:-1], "collision"
    assert severity(drives, "no_final_stop") == "absent"


def test_keys_are_told_from_speeds():
    drives = good()
    for drive in drives:
        drive.actions = np.sign(np.round(drive.actions))
    assert severity(drives, "action_lattice") == "note"
    assert severity(good(), "action_lattice") == "good"


def test_broken_off_drives_are_found():
    drives = good()
    drives[7].actions = drives[7].actions[:2]
    assert found(drives, "lengths").episodes == ("drive7",)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_actions_that_are_no_numbers_are_broken_and_not_counted(bad):
    drives = good()
    drives[3].actions[2, 1] = bad
    audit = examine([Drives([*drives, Broken("torn", "truncated")])], with_images=False)
    assert sorted((b.name, b.reason) for b in audit.broken) == [
        ("drive3", "the action of step 2 is not a finite number"),
        ("torn", "truncated"),
    ]
    assert len(audit.table) == 39


def test_robots_with_other_actions_are_not_mixed_in():
    drives = good()
    drives[5].action_names, drives[5].actions = ("vx", "wz"), drives[5].actions
    audit = examine([Drives(drives)], with_images=False)
    assert audit.broken[0].reason == "actions are vx, wz, those of others vx, vy"


def test_evaluation_drives_that_training_has_are_found():
    drives = good()
    for i, drive in enumerate(drives):
        drive.labels |= {"split": "evaluation" if i >= 36 else "train", "seed": str(i)}
    assert severity(drives, "leaked_sequences") == "good"
    assert severity(drives, "leaked_seeds") == "good"
    drives[39].actions = drives[1].actions.copy()
    drives[38].labels["seed"] = "2"
    assert found(drives, "leaked_sequences").episodes == ("drive39",)
    assert found(drives, "leaked_seeds").episodes == ("drive38",)


def test_a_handful_of_drives_is_not_judged_by_repetition():
    assert severity([Drive(f"d{i}", swing(0)) for i in range(3)], "duplicate_sequences") == "note"
    assert severity([Drive(f"d{i}", swing(0)) for i in range(3)], "clock_determinism") == "absent"


def test_balance_and_repetition_are_asked_of_what_is_learned_from():
    """Left to learn from and right to evaluate on is no balanced set; equal evaluation drives are nobody's fault."""
    drives = [d for d in good(120) if d.labels["side"] == "left"]
    drives += [d for d in good(120, split="evaluation") if d.labels["side"] == "right"]
    assert severity(drives, "side_balance") == "critical"
    repeated = good(60) + good(60, split="evaluation")
    for i, drive in enumerate(repeated[60:]):
        drive.actions = swing(1000, ("left", "right")[i % 2])
    assert severity(repeated, "duplicate_sequences") == "good"
    audit = examine([Drives(repeated)], with_images=False)
    assert (len(audit.table), audit.evaluation) == (60, 60)
    assert audit.verdict == "no fault found"


def test_a_set_that_is_all_for_evaluation_is_audited_all_the_same():
    drives = good(40, split="evaluation")
    for drive in drives:
        drive.actions = swing(1)
    assert severity(drives, "duplicate_sequences") == "critical"


def test_words_that_tell_everything_are_said_to_tell_everything():
    drives = good(80)
    for i, drive in enumerate(drives):
        drive.actions = np.tile([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][i % 4], (12, 1))
        drive.instruction, drive.labels = f"go {('north', 'west', 'south', 'east')[i % 4]}", {}
    figures = found(drives, "instruction_information").figures
    assert figures["instruction_entropy_bits"] == pytest.approx(2)
    assert figures["bits"] == pytest.approx(2)


def test_seeds_of_other_scenarios_are_other_worlds():
    drives = good(40, seed=0) + good(40, split="evaluation")
    for i, drive in enumerate(drives):
        drive.labels["seed"] = i % 40
        if i >= 40:
            drive.labels["scenario"] = "bottle_left"
    assert severity(drives, "leaked_seeds") == "good"
    for drive in drives[40:]:
        drive.labels["scenario"] = "box_right"  # the mirrored request in the same world
    assert severity(drives, "leaked_seeds") == "critical"


def test_evaluation_drives_that_nearly_repeat_training_are_a_warning():
    rng = np.random.default_rng(0)
    drives = good(40) + good(40, split="evaluation")
    for drive in drives[40:]:
        drive.actions = drive.actions + 0.02 * rng.uniform(-1, 1, drive.actions.shape)
    finding = found(drives, "leaked_sequences")
    assert finding.severity.value == "warning"
    assert finding.title == "40 of 40 evaluation episodes nearly repeat one of training"
