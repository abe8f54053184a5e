"""Train the policy of robots that turn (`lekiwi`, `diffbot`): the shipped CLIP, expert rollouts, cloning, DAgger."""

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
  python -m recipes.train_turning --out runs/turning --publish policies
  python -m recipes.train_turning --begin runs/train/dagger_2/clip_lstm --out runs/quick --scale 0.05"""

# Share of the episodes that each scenario or suite gets.
MIX = {
    "choose_goal": 0.28,
    "hard_choose_goal": 0.06,
    "obstacle_left": 0.11,
    "obstacle_right": 0.11,
    "two_obstacles_left": 0.11,
    "two_obstacles_right": 0.11,
    "reach_goal": 0.07,
    "hard_obstacle_left": 0.03,
    "hard_obstacle_right": 0.03,
    "suite refuse": 0.09,
}
# The same of single images.
LOOKS = {
    "choose_goal": 0.46,
    "hard_choose_goal": 0.16,
    "obstacle_left": 0.08,
    "obstacle_right": 0.08,
    "refuse_absent": 0.08,
    "refuse_ambiguous": 0.06,
    "refuse_contradiction": 0.03,
    "refuse_stop": 0.03,
    "refuse_nothing": 0.02,
}
# Actions take half as long as serbot's: episodes have twice the steps, batches fewer of them. Half are images.
DRIVE = functools.partial(Round, mix=MIX, batch_episodes=56, max_steps=48)
# What words mean is known already; the images of these robots' cameras and their turns are new.
ROUNDS = (
    Round("look", first_world=30000, episodes=3000, steps=80, mix=LOOKS, single=True, batch_episodes=384, max_steps=4),
    DRIVE("clone", first_world=10000, episodes=1800, steps=550, noise=0.35),
    DRIVE("dagger_1", first_world=15000, episodes=1000, steps=400, learner_share=0.8, noise=0.15),
    DRIVE("dagger_2", first_world=45000, episodes=1000, steps=650, learner_share=1.0, noise=0.05, decay=True),
)
# One policy for both: no sideways motion, and turns that are seldom faster than 1.2 rad/s.
POLICIES = NewPolicies(
    "clip_turning",
    {"turning_lstm": NewHead("lstm", "small CLIP with an LSTM head, for robots that turn instead of moving sideways")},
    action_scale={"vx": 0.5, "wz": 1.2},
    still=("vy",),
)
RECIPE = Recipe(
    POLICIES,
    ("lekiwi", "diffbot"),
    ROUNDS,
    {"hidden": 144, "feature_dim": 192},
    noise_at_rest=False,
)


@dataclass(frozen=True, kw_only=True)
class Options(RoundsOptions):
    """What `recipes.train_turning` is told."""

    out: Folder = Path("runs/turning")
    """Working folder."""
    begin: Name = "clip_lstm"
    """Policy with whose CLIP it begins, of `recipes.train_shipped`: a name or a folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    train_in_rounds(replace(RECIPE, backbone_of=options.begin), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
