"""Figures of the offline comparison: errors of actions against the expert's, and the trivial guesses to beat.

All figures pool the steps of all episodes, so a long episode counts for more than a short one, as in the users' table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.evaluation import metrics
from vla_sim.evaluation.metrics import Array
from vla_sim.evaluation.open_loop import ExpertEpisode
from vla_sim.evaluation.statistics import Interval, cluster_bootstrap

# Half the distance between two of the eight headings: what the nine classes allow at most.
HEADING_TOLERANCE_DEG = 22.5
# Largest |vx| and |vy| that still count as standing, as in `metrics.direction_index`.
STANDING_MPS = 0.15
BOOTSTRAP_SEED = 0
UNITS = {"vx": "mps", "vy": "mps", "wz": "radps"}

DEFINITIONS = {
    "mae_mps": "mean over steps and over vx and vy of |policy - expert|, in m/s (turning is left out and has its own "
    "column in rad/s); 95 % interval: bootstrap over episodes",
    "rmse_mps": "root of the mean over steps and over vx and vy of (policy - expert)^2, in m/s",
    "without_first": "the same without the first step of each episode",
    "heading_accuracy": f"share of steps where both stand (|vx| and |vy| at most {STANDING_MPS} m/s), or both move and "
    f"the headings atan2(vy, vx) are at most {HEADING_TOLERANCE_DEG} degrees apart",
    "direction_accuracy": "share of steps with the same of nine classes: the nearest of eight headings, or stop "
    f"(|vx| and |vy| at most {STANDING_MPS} m/s)",
    "constant": "always the mean of all expert actions of these episodes",
    "copy_last": "the expert's action of the step before; zero at the first step",
}


@dataclass(frozen=True)
class Errors:
    """How far actions are from the expert's.

    Attributes:
        steps: over how many steps.
        mae_mps: mean absolute error over vx and vy together, m/s.
        mae_interval_mps: its 95 % interval over episodes; None for fewer than two.
        rmse_mps: root mean square error over vx and vy together, m/s.
        mae_by_axis: mean absolute error by action component, m/s or rad/s.
        heading_accuracy, direction_accuracy: see DEFINITIONS, in 0..1.
    """

    steps: int
    mae_mps: float
    mae_interval_mps: Interval | None
    rmse_mps: float
    mae_by_axis: dict[str, float]
    heading_accuracy: float
    direction_accuracy: float


@dataclass(frozen=True)
class OfflineScore:
    """Errors over all steps, and over all but the first of each episode (None where no episode has a second)."""

    every_step: Errors
    without_first: Errors | None


def offline_score(guesses: Sequence[Array], expert_episodes: Sequence[ExpertEpisode]) -> OfflineScore:
    """Score guesses, one (T, A) array for each episode, against the labels of the episodes."""
    names = expert_episodes[0].action_names
    labels = [expert_episode.labels for expert_episode in expert_episodes]
    later = [(guess[1:], label[1:]) for guess, label in zip(guesses, labels, strict=True) if len(label) > 1]
    return OfflineScore(
        errors_of(guesses, labels, names),
        errors_of([guess for guess, _ in later], [label for _, label in later], names) if later else None,
    )


def policy_score(policy: str, expert_episodes: Sequence[ExpertEpisode]) -> OfflineScore | str:
    """The score of a policy that was asked in these episodes, or why there is none."""
    failed = [
        expert_episode.failures[policy] for expert_episode in expert_episodes if policy in expert_episode.failures
    ]
    if failed:
        return failed[0]
    if any(policy not in expert_episode.actions for expert_episode in expert_episodes):
        return "it broke down while driving and was not asked"
    return offline_score([expert_episode.actions[policy] for expert_episode in expert_episodes], expert_episodes)


def constant_guess(expert_episodes: Sequence[ExpertEpisode]) -> list[Array]:
    """The mean expert action over all steps of all episodes, at every step: (T, A) for each episode."""
    mean = np.concatenate([expert_episode.labels for expert_episode in expert_episodes]).mean(axis=0)
    return [np.broadcast_to(mean, expert_episode.labels.shape) for expert_episode in expert_episodes]


def copy_last_guess(expert_episodes: Sequence[ExpertEpisode]) -> list[Array]:
    """The expert's action of the step before, zero at the first step: (T, A) for each episode."""
    return [
        np.concatenate([np.zeros_like(expert_episode.labels[:1]), expert_episode.labels[:-1]])
        for expert_episode in expert_episodes
    ]


def errors_of(guesses: Sequence[Array], labels: Sequence[Array], names: Sequence[str]) -> Errors:
    """Errors of guesses against labels, both one (T, A) array for each episode; `names` are the A components."""
    guess, label = np.concatenate(list(guesses)), np.concatenate(list(labels))
    by_axis = metrics.mean_absolute_error(guess, label).tolist()
    squared = metrics.root_mean_square_error(guess, label) ** 2
    linear = [i for i, name in enumerate(names) if UNITS[name] == "mps"]
    groups = [np.abs(g - a)[:, linear].ravel() for g, a in zip(guesses, labels, strict=True)]
    estimate = cluster_bootstrap(groups, np.random.default_rng(BOOTSTRAP_SEED))
    there, wanted = planar(guess, names), planar(label, names)
    return Errors(
        steps=len(label),
        mae_mps=float(np.mean([by_axis[i] for i in linear])),
        mae_interval_mps=estimate.interval,
        rmse_mps=float(np.sqrt(np.mean(squared[linear]))),
        mae_by_axis=dict(zip(names, by_axis, strict=True)),
        heading_accuracy=float(heading_matches(there, wanted).mean()),
        direction_accuracy=metrics.direction_accuracy(there, wanted, dead_zone=STANDING_MPS),
    )


def planar(actions: Array, names: Sequence[str]) -> Array:
    """(N, 2) vx and vy of (N, A) actions, zeros for a component that the robot does not have."""
    columns = [actions[:, list(names).index(name)] if name in names else np.zeros(len(actions)) for name in UNITS]
    return np.stack(columns[:2], axis=1)


def heading_matches(predicted: Array, actual: Array, *, tolerance_deg: float = HEADING_TOLERANCE_DEG) -> Array:
    """(N,) bool, whether each of (N, 2) twists (vx, vy in m/s) goes where the other goes: see DEFINITIONS."""
    stands = [(np.abs(moves) <= STANDING_MPS).all(axis=1) for moves in (predicted, actual)]
    turned = [np.arctan2(moves[:, 1], moves[:, 0]) for moves in (predicted, actual)]
    apart_deg = np.degrees(np.abs((turned[0] - turned[1] + np.pi) % (2 * np.pi) - np.pi))
    # A hair more than the tolerance, so that rounding never decides about an angle that lies right on it.
    moving = ~stands[0] & ~stands[1] & (apart_deg <= tolerance_deg + 1e-9)
    return np.asarray((stands[0] & stands[1]) | moving)
