"""Which seeds are for what: no world that judges a policy is ever one that it learned from.

Everything here lies below the evaluation seeds, which only final reports touch. Used by `clone` and `dagger`.
"""

from __future__ import annotations

from vla_sim.core.errors import UserError
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED

# Worlds to learn from, worlds that choose among the states of one training, worlds that compare two rounds.
LEARNING = range(92_000)
CHOOSING = range(92_000, 96_000)
COMPARING = range(96_000, FIRST_EVALUATION_SEED)
# Worlds of final reports; nothing is ever chosen by them.
REPORTING = FIRST_EVALUATION_SEED


def seeds_within(seeds: range, first: int, count: int, what: str) -> range:
    """`count` of these seeds, from number `first` on.

    Raises:
        UserError: there are not so many.
    """
    if first < 0 or count < 1 or first + count > len(seeds):
        raise UserError(
            f"{what} must lie among the seeds {seeds[0]} to {seeds[-1]}, got {seeds[0] + first} to "
            f"{seeds[0] + first + count - 1}"
        )
    return seeds[first : first + count]
