"""Closed-loop test bench for language-conditioned mobile robots.

Importing it registers the Gymnasium ids and loads neither torch nor pybullet.
"""

import gymnasium

__version__ = "0.1.0"

gymnasium.register(
    id="VLASim/Navigate-v0",
    entry_point="vla_sim.envs.navigate:NavigateEnv",
    vector_entry_point="vla_sim.envs.vector:NavigateVectorEnv",
)
