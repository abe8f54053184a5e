"""Train the policy for rooms and people, which reads a LiDAR: from the shipped LSTM by rollouts, cloning, DAgger."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recipes import rounds
from recipes.rounds import Recipe, Round, RoundsOptions, train_in_rounds
from vla_sim.core.cli import run_command
from vla_sim.core.options import Folder, Name
from vla_sim.training.new_policies import NewHead, NewPolicies

EPILOG = f"""{rounds.EPILOG}
examples:
  python -m recipes.train_rooms --out runs/rooms --publish policies
  python -m recipes.train_rooms --begin runs/train/clone/clip_lstm --out runs/quick --scale 0.05"""

# Share of the episodes that each scenario or suite gets: rooms and people alike, a fifth of core.
MIX = {
    "suite rooms": 0.40,
    "suite people": 0.40,
    "suite core": 0.20,
}
# What goes wrong last is meeting people.
LAST_MIX = {"suite rooms": 0.38, "suite people": 0.47, "suite core": 0.15}
# The same of single images.
LOOKS = {
    "choose_goal": 0.30,
    "hard_choose_goal": 0.10,
    "oncoming": 0.20,
    "overtaking": 0.15,
    "corridor": 0.25,
}
# What is mistaken last: which object is meant at the end of a sentence of several legs, or behind somebody.
CHOICES = {
    "past_then_through_left": 0.28,
    "past_then_through_right": 0.28,
    "through_then_choose": 0.16,
    "overtaking": 0.14,
    "oncoming": 0.14,
}
# Episodes take up to 44 s, an action 0.4 s.
DRIVE = functools.partial(Round, mix=MIX, batch_episodes=44, max_steps=60)
ROUNDS = (
    Round("look", first_world=30000, episodes=1200, steps=40, mix=LOOKS, single=True, batch_episodes=256, max_steps=4),
    DRIVE("clone", first_world=20000, episodes=1100, steps=400, noise=0.4),
    DRIVE("dagger_1", first_world=25000, episodes=700, steps=400, learner_share=0.8, noise=0.15),
    DRIVE("dagger_2", first_world=40000, episodes=700, steps=420, learner_share=0.9, noise=0.1),
    DRIVE("dagger_3", first_world=45000, episodes=800, steps=120, mix=LAST_MIX, learner_share=1.0, noise=0.05),
    DRIVE("dagger_4", 60000, 480, steps=560, mix=CHOICES, learner_share=1.0, noise=0.05, decay=True),
)
POLICIES = NewPolicies(
    "clip_rooms",
    {"rooms_lstm": NewHead("lstm", "small CLIP and a LiDAR with an LSTM head, for rooms with walls and people")},
    sensors=("lidar",),
)
RECIPE = Recipe(POLICIES, ("serbot_lidar",), ROUNDS, {}, noise_at_rest=False)


@dataclass(frozen=True, kw_only=True)
class Options(RoundsOptions):
    """What `recipes.train_rooms` is told."""

    out: Folder = Path("runs/rooms")
    """Working folder."""
    begin: Name = "clip_lstm"
    """Policy that it begins as, of `recipes.train_shipped`: a name or a folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    train_in_rounds(replace(RECIPE, begin=options.begin), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
