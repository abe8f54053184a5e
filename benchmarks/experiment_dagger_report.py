"""Table and plot of `benchmarks.experiment_dagger` from the files of its arms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.files import write_whole
from vla_sim.evaluation.statistics import cluster_bootstrap, wilson
from vla_sim.training.gate import Comparison, rate

ARMS = ("bc72", "repeat", "bc200", "augment", "dagger", "longer", "control")
CONTROLS = ("repeat", "longer", "control")
ROUNDS = ("dagger", "longer", "control")
TITLES = {
    "bc72": "cloning of 72 seed-like recordings",
    "repeat": "the 72, repeated",
    "bc200": "cloning of 200, expanded",
    "augment": "+ augmentation",
    "dagger": "+ DAgger rounds",
    "longer": "+ as many steps, nothing new",
    "control": "+ plain demonstrations",
}
# What each step is compared with. Controls have as many steps, and have seen as many images.
STEPS: dict[str, dict[str, str]] = {
    "bc200": {"bc72": "the step before", "repeat": "its control"},
    "augment": {"bc200": "the step before and its control"},
    "dagger": {
        "augment": "the step before",
        "bc200": "the 200 episodes alone",
        "longer": "only more training",
        "control": "plain demonstrations in the same worlds",
    },
}
WORLDS = {"core": "the worlds of the suite core", "home": "worlds like the recordings"}
SUITES = {"core": "suite core", "home": "worlds like the recordings"}
RESAMPLES, LEVEL = 10_000, 0.05
WANTED_POINTS, WANTED_RATE = 0.10, 0.95

Documents = Sequence[Mapping[str, Any]]


def write_report(documents: Documents, sizes: Mapping[str, Any], out: Path, docs: Path | None) -> str:
    """Write experiment.json, experiment.md and experiment.png; returns the table."""
    summary = {"format": 1, "sizes": dict(sizes), "suites": {suite: _summary(documents, suite) for suite in SUITES}}
    summary["demand"] = _demand(summary)
    text = _markdown(documents, summary)
    write_whole(out / "experiment.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_whole(out / "experiment.md", text.encode())
    _plot(summary, out / "experiment.png")
    if docs is not None:
        (docs / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy2(out / "experiment.png", docs / "images" / "experiment_dagger.png")
        write_whole(
            docs / "experiment_dagger.md", text.replace("(experiment.png)", "(images/experiment_dagger.png)").encode()
        )
    return text


def _successes(
    documents: Documents, arm: str, suite: str, seed: int | None = None, language: str = ""
) -> dict[tuple[int, str, int], bool]:
    """(training seed, scenario, world): success; of sentences in one language, where one is asked for."""
    return {
        (document["seed"], scenario, world): success
        for document in documents
        if document["arm"] == arm and seed in (None, document["seed"])
        for scenario, world, success in document["results"][suite]
        if not language or document["languages"][suite][scenario, world] == language
    }


def _compare(documents: Documents, new: str, old: str, suite: str, language: str = "") -> dict[str, Any]:
    """The paired difference.

    All trainings drive the same worlds, and scenarios place things alike from one seed: seeds are resampled with all
    that was driven in them.
    """
    one, other = (_successes(documents, arm, suite, language=language) for arm in (new, old))
    worlds: dict[int, list[float]] = {}
    by_seed: dict[int, list[float]] = {}
    for (seed, scenario, world), success in one.items():
        difference = float(success) - float(other[seed, scenario, world])
        worlds.setdefault(world, []).append(difference)
        by_seed.setdefault(seed, []).append(difference)
    groups = list(worlds.values())
    found = cluster_bootstrap(groups, np.random.default_rng(0), resamples=RESAMPLES)
    assert found.value is not None
    assert found.interval is not None
    return {
        "difference": found.value,
        "difference_ci95": [found.interval.low, found.interval.high],
        "p_value": _flipped(np.array([sum(group) for group in groups])),
        "by_seed": {seed: float(np.mean(values)) for seed, values in by_seed.items()},
    }


def _flipped(sums: np.ndarray) -> float:
    """Two-sided p of "each world's difference might as well have the other sign", by drawing signs."""
    moved = sums[sums != 0]
    signs = np.random.default_rng(1).choice([-1, 1], (RESAMPLES, len(moved)))
    return float((1 + (np.abs(signs @ moved) >= abs(moved.sum())).sum()) / (1 + RESAMPLES))


def _summary(documents: Documents, suite: str) -> dict[str, Any]:
    seeds = sorted({document["seed"] for document in documents})
    arms = {}
    for arm in ARMS:
        found = _successes(documents, arm, suite)
        wins, interval = sum(found.values()), wilson(sum(found.values()), len(found))
        by_seed = {seed: _successes(documents, arm, suite, seed) for seed in seeds}
        scenarios = sorted({scenario for _, scenario, _ in found})
        arms[arm] = {
            "successes": wins,
            "worlds": len(found),
            "rate": wins / len(found),
            "ci95": [interval.low, interval.high],
            "by_seed": {seed: sum(values.values()) / len(values) for seed, values in by_seed.items()},
            "by_scenario": {
                name: _mean([success for key, success in found.items() if key[1] == name]) for name in scenarios
            },
        }
    steps = {new: {old: _compare(documents, new, old, suite) for old in olds} for new, olds in STEPS.items()}
    return {"arms": arms, "steps": steps, "languages": _languages(documents, suite)}


def _languages(documents: Documents, suite: str) -> dict[str, Any]:
    """Rates by the language of the sentence, and what DAgger wins in each; empty where records do not say it."""
    if any("languages" not in document for document in documents):
        return {}
    found: dict[str, Any] = {}
    for language in sorted({name for document in documents for name in document["languages"][suite].values()}):
        rows = {arm: _successes(documents, arm, suite, language=language) for arm in ARMS}
        found[language] = {
            "worlds": len(rows["dagger"]),
            "successes": {arm: sum(row.values()) for arm, row in rows.items()},
            "dagger": {old: _compare(documents, "dagger", old, suite, language) for old in STEPS["dagger"]},
        }
    return found


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _demand(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Whether DAgger wins 10 points, or reaches 95 %, against each of what it is compared with, clear of zero."""
    found: dict[str, Any] = {}
    for suite, values in summary["suites"].items():
        reached = values["arms"]["dagger"]["rate"] >= WANTED_RATE
        steps = values["steps"]["dagger"]
        clear = {old: row["difference_ci95"][0] > 0 and row["p_value"] < LEVEL for old, row in steps.items()}
        found[suite] = {
            old: {"points": clear[old] and row["difference"] >= WANTED_POINTS, "rate": clear[old] and reached}
            for old, row in steps.items()
        }
    return found


def _markdown(documents: Documents, summary: Mapping[str, Any]) -> str:
    sizes = summary["sizes"]
    seeds = sorted({document["seed"] for document in documents})
    lines = [
        "# Does DAgger help, or only more training?",
        "",
        f"Made by `python -m benchmarks.experiment_dagger --rounds-in {sizes['rounds_in']} "
        f"--language {sizes['language']}`; what each arm is stands in its docstring.",
        f"{len(seeds)} training seeds, each with recordings, weights and batches of its own; "
        f"{sizes['steps']} steps of cloning, then {sizes['rounds']} rounds of {sizes['round_steps']} steps",
        f"in {WORLDS[sizes['rounds_in']]}, the expert's share of DAgger's drives being {sizes['beta']}. Language of",
        f"recordings and expansion: {sizes['language']}; of rounds, control and held-out worlds: both.",
        "Held-out worlds (seeds from 100000 on) and held-out phrasings; all trainings drive the same worlds. Intervals",
        "of rates are Wilson's, those of paired differences resample seeds of worlds with all that drove in them, and",
        f"p flips the signs of seeds ({RESAMPLES} draws each). They are about worlds, with the trainings at hand: how",
        f"far these differ stands beside them, and three are few. Clear of zero: the interval, and p below {LEVEL:g}.",
        "",
        "![success of each arm](experiment.png)",
    ]
    # Where the rounds drove comes first.
    for suite, title in sorted(SUITES.items(), key=lambda item: item[0] != sizes["rounds_in"]):
        values = summary["suites"][suite]
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", *_arm_table(documents, values), "", *_step_table(values)]
        if values["languages"]:
            lines += ["", *_language_table(values["languages"])]
        lines += ["", *_demand_table(summary["demand"][suite])]
    lines += ["", *_gate_table(documents)]
    return "\n".join(lines) + "\n"


def _arm_table(documents: Documents, values: Mapping[str, Any]) -> list[str]:
    lines = ["| arm | success | by training seed | images | steps | images seen |", "|---|---|---|---|---|---|"]
    for arm in ARMS:
        row = values["arms"][arm]
        own = [document for document in documents if document["arm"] == arm]
        frames, steps, seen = (
            f"{_mean([document[key] for document in own]):.0f}" for key in ("frames", "steps", "frames_seen")
        )
        if arm in ROUNDS:  # on top of the cloning before
            frames, steps, seen = (f"+ {number}" for number in (frames, steps, seen))
        spread = ", ".join(f"{share:.1%}" for share in row["by_seed"].values())
        shown = " | ".join((frames, steps, seen))
        lines.append(f"| {arm}: {TITLES[arm]} | {rate(row['successes'], row['worlds'])} | {spread} | {shown} |")
    return lines


def _step_table(values: Mapping[str, Any]) -> list[str]:
    lines = ["| step | against | paired difference | p | by training seed |", "|---|---|---|---|---|"]
    for new, found in values["steps"].items():
        for old, row in found.items():
            low, high = row["difference_ci95"]
            spread = ", ".join(f"{100 * value:+.1f}" for value in row["by_seed"].values())
            lines.append(
                f"| {new} | {old}, {STEPS[new][old]} | {100 * row['difference']:+.1f} points "
                f"[{100 * low:+.1f}, {100 * high:+.1f}] | {row['p_value']:.2g} | {spread} |"
            )
    return lines


def _language_table(languages: Mapping[str, Any]) -> list[str]:
    """Success by the language of the sentence. Rounds bring both languages, recordings those they were made in."""
    lines = ["| arm | " + " | ".join(f"success, language {name}" for name in languages) + " |"]
    lines.append("|---|" + "---|" * len(languages))
    for arm in ARMS:
        cells = [rate(found["successes"][arm], found["worlds"]) for found in languages.values()]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    for old in STEPS["dagger"]:
        rows = [found["dagger"][old] for found in languages.values()]
        cells = [
            f"{100 * row['difference']:+.1f} [{100 * row['difference_ci95'][0]:+.1f}, "
            f"{100 * row['difference_ci95'][1]:+.1f}], p {row['p_value']:.2g}"
            for row in rows
        ]
        lines.append(f"| dagger over {old} | " + " | ".join(cells) + " |")
    return lines


def _demand_table(demand: Mapping[str, Any]) -> list[str]:
    points, rate_wanted = f"by {100 * WANTED_POINTS:.0f} points", f"reaching {WANTED_RATE:.0%}"
    lines = [f"| DAgger wins, clear of zero, against | {points} | {rate_wanted} |", "|---|---|---|"]
    for old, met in demand.items():
        answers = " | ".join("yes" if met[key] else "no" for key in ("points", "rate"))
        lines.append(f"| {old}, {STEPS['dagger'][old]} | {answers} |")
    return lines


def _gate_table(documents: Documents) -> list[str]:
    lines = ["## Gates", "", "| arm | training seed | round | beta | verdict |", "|---|---|---|---|---|"]
    for document in documents:
        for entry in document.get("gate", ()):
            one = Comparison.from_json(entry["overall"])
            verdict = "accepted" if entry["accepted"] else "dropped"
            worse = f"; worse in {', '.join(entry['forgotten'])}" if entry["forgotten"] else ""
            lines.append(
                f"| {document['arm']} | {document['seed']} | {entry['round']} | {entry['beta']:.3g} | "
                f"{verdict}: {one.text()}{worse} |"
            )
    return lines


def _plot(summary: Mapping[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(SUITES), figsize=(11, 4.2), sharey=True, layout="constrained")
    for axes, (suite, title) in zip(panels, SUITES.items(), strict=True):
        for place, arm in enumerate(ARMS):
            row = summary["suites"][suite]["arms"][arm]
            low, high = row["ci95"]
            control = arm in CONTROLS
            lengths = [[100 * (row["rate"] - low)], [100 * (high - row["rate"])]]
            axes.bar(place, 100 * row["rate"], color="#b8b8b8" if control else "#3b6fb6", width=0.7)
            axes.errorbar(place, 100 * row["rate"], lengths, color="black", capsize=3)
            axes.plot(
                [place] * len(row["by_seed"]), [100 * v for v in row["by_seed"].values()], "o", color="#e08214", ms=4
            )
            axes.annotate(f"{100 * row['rate']:.0f} %", (place + 0.06, 100 * high + 1), fontsize=8)
        axes.set_title(title)
        axes.set_xticks(range(len(ARMS)), [f"{a}\n(control)" if a in CONTROLS[:-1] else a for a in ARMS])
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylim(0, 108)
    panels[0].set_ylabel("closed-loop success in %, 95 % interval")
    figure.suptitle("Held-out worlds; bars: all trainings, dots: one training seed each", fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)
