"""What training and evaluation share: seeds, images, action sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vla_sim.datasets.audit.findings import Finding, Severity, some
from vla_sim.datasets.audit.images import First
from vla_sim.datasets.audit.recorded import EVALUATION, TRAIN, Recorded
from vla_sim.datasets.audit.sequences import nearly_equal
from vla_sim.datasets.audit.table import ActionTable
from vla_sim.scenarios.library import family_of

# First images whose thumbnails differ by less than this on average (0..255) show the same scene.
SAME_SCENE = 1.5
# Share of evaluation episodes that training knows, from which on the evaluation is worth little, or flattered.
LEAK_CRITICAL, LEAK_WARNING = 0.5, 0.01
# Evaluation and training sequences compared at most.
MOST_COMPARED = 1000
FEWEST_SHARED = 1


def splits(table: ActionTable) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the episodes to learn from, and of those for evaluation."""
    held_out = np.array([r.labels.get("split") == EVALUATION for r in table.recorded], dtype=bool)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def leakage(table: ActionTable, firsts: Mapping[str, Sequence[First]]) -> list[Finding]:
    """Findings about a set with two splits; one note where there is one split only.

    Args:
        table: of both splits.
        firsts: first images by split; empty where images are not looked at.
    """
    train, evaluation = splits(table)
    if not len(evaluation) or not len(train):
        return [
            Finding(
                "leakage",
                Severity.NOTE,
                "no evaluation split: leakage cannot be checked",
                text="Give it with --evaluation DIR, name folders train and val, or use the splits of info.json.",
                weight=0.1,
            )
        ]
    return [
        _shared_seeds(table, train, evaluation),
        _shared_sequences(table, train, evaluation),
        *_shared_images(firsts),
    ]


def _finding(code: str, shared: Sequence[str], total: int, what: str, fine: str, advice: str) -> Finding:
    share = len(shared) / max(total, 1)
    severity = Severity.GOOD
    if len(shared) >= FEWEST_SHARED and share >= LEAK_WARNING:
        severity = Severity.CRITICAL if share >= LEAK_CRITICAL else Severity.WARNING
    return Finding(
        code,
        severity,
        f"{len(shared)} of {total} evaluation episodes {what}" if shared else fine,
        advice=advice if shared else "",
        weight=share,
        figures={"shared": len(shared), "evaluation_episodes": total, "share": share},
        episodes=some(list(shared)),
    )


def _world(recorded: Recorded) -> tuple[str, str] | None:
    """Family of the scenario and seed: the scene of a seed is the same for all scenarios of a family."""
    seed = recorded.labels.get("seed")
    family = recorded.labels.get("family") or family_of(str(recorded.labels.get("scenario", "")))
    return None if seed is None else (str(family), str(seed))


def _shared_seeds(table: ActionTable, train: np.ndarray, evaluation: np.ndarray) -> Finding:
    known = {_world(table.recorded[i]) for i in train} - {None}
    judged = [table.recorded[i] for i in evaluation if _world(table.recorded[i])]
    shared = [r.name for r in judged if _world(r) in known]
    if not judged:
        return Finding("leaked_seeds", Severity.NOTE, "evaluation episodes carry no seeds", weight=0.1)
    return _finding(
        "leaked_seeds",
        shared,
        len(judged),
        "were simulated from a seed that is in training",
        "no world is in both splits",
        "Collect both parts with a --first-seed of their own, or judge by vla_sim.eval in worlds that no data holds.",
    )


def _shared_sequences(table: ActionTable, train: np.ndarray, evaluation: np.ndarray) -> Finding:
    numbers = table.sequences()
    in_training = set(numbers[train].tolist())
    identical = [int(i) for i in evaluation if numbers[i] in in_training]
    firsts = np.array([train[np.flatnonzero(numbers[train] == n)[0]] for n in sorted(in_training)])
    firsts = firsts[np.linspace(0, len(firsts) - 1, min(len(firsts), MOST_COMPARED)).astype(int)]
    rest = [int(i) for i in evaluation if numbers[i] not in in_training][:MOST_COMPARED]
    near = [i for i in rest if nearly_equal(table, i, firsts).any()]
    share_known = len(identical)
    finding = _finding(
        "leaked_sequences",
        table.names(np.array(identical, dtype=int)),
        len(evaluation),
        "repeat an action sequence of training exactly" + (f", {len(near)} more nearly" if near else ""),
        f"no action sequence is in both splits ({len(near)} evaluation episodes are nearly equal to one)",
        "Split by scene or recording day, not by episode.",
    )
    known = (share_known + len(near)) / len(evaluation)
    severity, title, advice = finding.severity, finding.title, finding.advice
    if severity is Severity.GOOD and known >= LEAK_CRITICAL:
        severity, advice = Severity.WARNING, "Split by scene or recording day, not by episode."
        title = f"{share_known + len(near)} of {len(evaluation)} evaluation episodes nearly repeat one of training"
    figures = {**finding.figures, "identical": share_known, "nearly": len(near)}
    weight = max(finding.weight, known)
    return replace(finding, severity=severity, title=title, advice=advice, figures=figures, weight=weight)


def _shared_images(firsts: Mapping[str, Sequence[First]]) -> list[Finding]:
    train, evaluation = firsts.get(TRAIN, ()), firsts.get(EVALUATION, ())
    if not train or not evaluation:
        return []
    digests = {first.digest for first in train}
    known = np.stack([first.thumbnail.ravel() for first in train])
    shared = [
        first.name
        for first in evaluation
        if first.digest in digests or (np.abs(known - first.thumbnail.ravel()).mean(axis=1) < SAME_SCENE).any()
    ]
    return [
        _finding(
            "leaked_pictures",
            shared,
            len(evaluation),
            "begin with an image that is (nearly) in training",
            f"no first image is in both splits ({len(train)} and {len(evaluation)} looked at)",
            "Split by scene or recording day, not by episode.",
        )
    ]
