"""How much instructions say about actions, in bits, against what chance would say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_sim.datasets.audit.findings import Finding, Severity
from vla_sim.datasets.audit.table import ActionTable

# Random pairings of instructions and episodes; the smallest p-value is one over this plus one.
PERMUTATIONS = 200
SIGNIFICANT = 0.05
# With more different sentences than this share of the episodes, sentences are grouped by the side they name.
MANY_SENTENCES = 0.2
# Less of the instructions' own information than this is little.
LITTLE = 0.05
FEWEST_EPISODES = 10


def instruction_information(table: ActionTable, *, seed: int = 0) -> Finding:
    """Mutual information of instruction and action at equal frame numbers.

    The plug-in estimate of I(instruction; action | frame), averaged over steps, is too high by chance; so episodes are
    paired with instructions at random, the mean of that is adjusted for, and its distribution gives the p-value. Whole
    episodes are re-paired because the steps of one are not independent.
    """
    sentences = [r.instruction for r in table.recorded]
    missing = sum(not s for s in sentences)
    groups, by = _grouped(table)
    figures: dict[str, object] = {
        "sentences": len(set(sentences)),
        "without": missing,
        "grouped_by": by,
        "groups": len(set(groups)),
    }
    if missing == len(sentences) and not any(table.sides):
        return Finding(
            "instruction_information",
            Severity.WARNING,
            "no episode has an instruction",
            text="Nothing about language can be learned from it.",
            advice="Add the sentence that each episode was recorded for.",
            weight=0.9,
            figures=figures,
        )
    if len(set(groups)) == 1:
        return Finding(
            "instruction_information",
            Severity.WARNING,
            f'one instruction for all: "{sentences[0]}"' if by == "sentence" else f"all instructions say {groups[0]}",
            text="A policy cannot learn to listen to words that never change.",
            advice="Record the same scenes with other instructions, and other episodes.",
            weight=0.9,
            figures=figures,
        )
    words = np.unique(groups, return_inverse=True)[1]
    entropy = _entropy(np.bincount(words))
    if len(table) < FEWEST_EPISODES:
        return Finding("instruction_information", Severity.NOTE, "too few episodes to say", figures=figures)
    bits, chance, p_value = _permuted(words, table.symbols(coarse=True), seed)
    # Adjusted for chance as Vinh et al. (2010) do: all that can be told stays all of it.
    excess = min(entropy, entropy * (bits - chance) / max(entropy - chance, 1e-9)) if bits > chance else 0.0
    figures |= {
        "bits": excess,
        "plug_in_bits": bits,
        "chance_bits": chance,
        "p_value": p_value,
        "instruction_entropy_bits": entropy,
    }
    severity = Severity.GOOD
    if p_value > SIGNIFICANT:
        severity = Severity.CRITICAL if len(table) >= 5 * FEWEST_EPISODES else Severity.WARNING
    elif missing:
        severity = Severity.WARNING
    elif excess < LITTLE * entropy:
        severity = Severity.NOTE
    said = f"{excess:.2f} of {entropy:.2f} bits"
    title = f"instructions tell {said} about the action at a step"
    if p_value > SIGNIFICANT:
        title = f"instructions tell nothing about actions: {said}, no more than chance (p = {p_value:.2g})"
    elif missing:
        title = f"{missing} of {len(sentences)} episodes have no instruction; what is known tells {said} of a step"
    return Finding(
        "instruction_information",
        severity,
        title,
        text=f"Mutual information given the frame, adjusted for the mean of {PERMUTATIONS} random pairings "
        f"({chance:.2f} bits; p = {p_value:.2g}), averaged over steps; instructions grouped by {by}.",
        advice="Add the sentence that each episode was recorded for."
        if missing
        else "Check that sentences belong to their episodes; a policy trained on it will ignore them.",
        weight=1 - min(1.0, excess / max(entropy, 1e-9)),
        figures=figures,
    )


def _grouped(table: ActionTable) -> tuple[list[str], str]:
    sentences = [r.instruction for r in table.recorded]
    many = len(set(sentences)) > max(2, MANY_SENTENCES * len(sentences))
    if any(table.sides) and (many or not any(sentences)):
        return list(table.sides), "side"
    return sentences, "sentence"


def _permuted(words: np.ndarray, symbols: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Bits, mean bits of random pairings, and the share of those that reach as much."""
    rng = np.random.default_rng(seed)
    bits = _step_information(words, symbols)
    random = np.array([_step_information(rng.permutation(words), symbols) for _ in range(PERMUTATIONS)])
    return bits, float(random.mean()), float((1 + (random >= bits - 1e-12).sum()) / (1 + PERMUTATIONS))


def _step_information(words: np.ndarray, symbols: np.ndarray) -> float:
    """Mean over steps of I(word; symbol) among the episodes that are still going, in bits."""
    total, steps = 0.0, 0
    width = int(symbols.max()) + 1
    kinds = int(words.max()) + 1
    for t in range(symbols.shape[1]):
        alive = symbols[:, t] >= 0
        count = int(alive.sum())
        if count < 2:
            continue
        joint = np.bincount(words[alive] * width + symbols[alive, t], minlength=kinds * width).reshape(kinds, width)
        total += count * (_entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.ravel()))
        steps += count
    return total / max(steps, 1)


def _entropy(counts: Sequence[int] | np.ndarray) -> float:
    """Entropy of counts, in bits."""
    shares = np.asarray(counts, dtype=float)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log2(shares)).sum())
