"""Train the shipped policies from seeds: expert rollouts, behaviour cloning, DAgger."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes import rounds
from recipes.rounds import Recipe, Round, RoundsOptions, train_in_rounds
from vla_sim.core.cli import run_command
from vla_sim.core.options import Folder, Name
from vla_sim.training.new_policies import SMALL

EPILOG = f"""{rounds.EPILOG}
examples:
  python -m recipes.train_shipped --out runs/train --publish policies
  python -m recipes.train_shipped --out runs/quick --scale 0.1"""

# Share of the episodes that each scenario or suite gets; choosing among objects takes the most examples.
MIX = {
    "choose_goal": 0.20,
    "hard_choose_goal": 0.08,
    "obstacle_left": 0.06,
    "obstacle_right": 0.06,
    "two_obstacles_left": 0.06,
    "two_obstacles_right": 0.06,
    "reach_goal": 0.04,
    "hard_obstacle_left": 0.03,
    "hard_obstacle_right": 0.03,
    "hard_two_obstacles_left": 0.03,
    "hard_two_obstacles_right": 0.03,
    "suite seed": 0.06,
    "suite refuse": 0.13,
    "suite route": 0.13,
}
# The same of single images; most show every object as the goal in turn.
LOOKS = {
    "choose_goal": 0.36,
    "hard_choose_goal": 0.16,
    "obstacle_left": 0.06,
    "obstacle_right": 0.06,
    "refuse_absent": 0.14,
    "refuse_ambiguous": 0.10,
    "refuse_contradiction": 0.05,
    "refuse_stop": 0.04,
    "refuse_nothing": 0.03,
}
# Telling what is there from what is not takes more images than finding it.
ABSENT = {"refuse_absent": 0.4, "refuse_ambiguous": 0.3, "choose_goal": 0.2, "hard_choose_goal": 0.1}
# What a clone does worst: several legs, and objects that are not there.
HARDEST = {
    "choose_goal": 0.14,
    "hard_choose_goal": 0.08,
    "obstacle_left": 0.03,
    "obstacle_right": 0.03,
    "two_obstacles_left": 0.03,
    "two_obstacles_right": 0.03,
    "reach_goal": 0.02,
    "hard_obstacle_left": 0.04,
    "hard_obstacle_right": 0.04,
    "hard_two_obstacles_left": 0.04,
    "hard_two_obstacles_right": 0.04,
    "suite seed": 0.03,
    "refuse_absent": 0.06,
    "refuse_ambiguous": 0.06,
    "refuse_nothing": 0.02,
    "refuse_stop": 0.02,
    "refuse_contradiction": 0.01,
    "stop_midway_left": 0.01,
    "stop_midway_right": 0.01,
    "suite route": 0.26,
}

LEGS = {"suite route": 1.0}
# What is worst even then.
LAST = {
    "suite route": 0.5,
    "choose_goal": 0.08,
    "hard_choose_goal": 0.12,
    "hard_obstacle_left": 0.05,
    "hard_obstacle_right": 0.05,
    "hard_two_obstacles_left": 0.03,
    "hard_two_obstacles_right": 0.03,
    "refuse_absent": 0.08,
    "refuse_ambiguous": 0.06,
}
# Batches in which an episode of several legs is learned as a whole.
LONG: dict[str, Any] = {"batch_episodes": 72, "max_steps": 64}
# Words first: which object is meant is learned on single images, and kept alive by them while driving is learned.
ROUNDS = (
    Round("look", first_world=30000, episodes=9000, steps=400, mix=LOOKS, single=True, batch_episodes=384, max_steps=4),
    Round("clone", mix=MIX, first_world=0, episodes=4000, steps=900, noise=0.5),
    Round(
        "absent", first_world=15000, episodes=5000, steps=100, mix=ABSENT, single=True, batch_episodes=384, max_steps=4
    ),
    Round("routes", first_world=22000, episodes=1800, steps=300, mix=LEGS, noise=0.3, **LONG),
    Round("dagger_1", first_world=5000, episodes=2000, steps=500, mix=HARDEST, learner_share=0.8, noise=0.15, **LONG),
    Round("legs", first_world=60000, episodes=4000, steps=60, mix=LEGS, single=True, batch_episodes=384, max_steps=4),
    Round("dagger_2", first_world=40000, episodes=2000, steps=500, mix=HARDEST, learner_share=1.0, noise=0.1, **LONG),
    Round("dagger_3", 65000, 2000, steps=900, mix=LAST, learner_share=1.0, noise=0.05, decay=True, **LONG),
)


@dataclass(frozen=True, kw_only=True)
class Options(RoundsOptions):
    """What `recipes.train_shipped` is told."""

    out: Folder = Path("runs/train")
    """Working folder."""
    embodiment: Name = "serbot"
    """The robot, a name or a TOML file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    train_in_rounds(Recipe(SMALL, (options.embodiment,), ROUNDS, {}), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
