"""Policies that misbehave in the episodes of odd seeds, from their third step on; they drive straight otherwise."""

import os
import signal
import time

import numpy as np

from vla_sim.policies.base import Policy, PolicySpec


class _Odd(Policy):
    spec = PolicySpec(action_names=("vx", "vy"))

    def reset(self, reset_mask, seeds):
        if not hasattr(self, "seeds"):
            self.seeds, self.steps = np.zeros(len(reset_mask), int), np.zeros(len(reset_mask), int)
            self.started = np.zeros(len(reset_mask), bool)
        self.seeds[reset_mask], self.steps[reset_mask] = seeds[reset_mask], 0
        self.started |= reset_mask

    def act(self, observation, infos=None):
        self.steps += 1
        actions = np.tile(np.float32([0.5, 0.0]), (len(self.seeds), 1))
        return self.misbehave(actions, self.started & (self.seeds % 2 == 1) & (self.steps >= 3))


class Straight(_Odd):
    def misbehave(self, actions, bad):
        return actions


class Raises(_Odd):
    def misbehave(self, actions, bad):
        if bad.any():
            raise RuntimeError("my network exploded")
        return actions


class GivesNan(_Odd):
    def misbehave(self, actions, bad):
        actions[bad] = np.nan
        return actions


class WrongShape(_Odd):
    def misbehave(self, actions, bad):
        return actions[:, :1] if bad.any() else actions


class Hangs(_Odd):
    def misbehave(self, actions, bad):
        while bad.any():
            time.sleep(0.1)
        return actions


class Dies(_Odd):
    def misbehave(self, actions, bad):
        if bad.any():
            os.kill(os.getpid(), signal.SIGKILL)
        return actions


class CannotStart(_Odd):
    def __init__(self):
        raise OSError("no such weights")


class WantsTurns(_Odd):
    spec = PolicySpec(action_names=("vx", "vy", "wz"))


class AlwaysRaises(_Odd):
    def act(self, observation, infos=None):
        raise ValueError("always")
