"""For tests of your own policies, wrappers and tools: doubles without physics, made-up data, a check of policies.

>>> from vla_sim.testing import EchoPolicy, StubEnv, check_policy, make_episode, make_result
>>> env, policy = StubEnv(steps=3), EchoPolicy(action=(0.2, 0.1))
>>> observation, _ = env.reset(seed=0)
>>> observation["instruction"]
'Pass the box on the left and stop at the basket'
>>> make_episode(steps=4).actions.shape
(4, 2)
>>> make_result(outcome="timeout").success
False
>>> check_policy("straight")
"""

from vla_sim.testing.checks import check_policy
from vla_sim.testing.doubles import EchoPolicy, StubEnv
from vla_sim.testing.made_up import make_episode, make_result

__all__ = ["EchoPolicy", "StubEnv", "check_policy", "make_episode", "make_result"]
