"""Policies that do to their process what they should not, for the tests of what it costs others."""

import os
import socket
import time
from pathlib import Path

import numpy as np

from vla_sim.policies.base import Policy, PolicySpec

HERE = Path(__file__).parent


class Straight(Policy):
    spec = PolicySpec(action_names=("vx", "vy"))

    def reset(self, reset_mask, seeds):
        self.seeds = np.where(reset_mask, seeds, getattr(self, "seeds", seeds))

    def act(self, observation, infos=None):
        return np.tile(np.float32([0.5, 0.0]), (len(self.seeds), 1))


class PatchesTheJudge(Straight):
    """Whatever happens, it is a success; for it and for whoever drives in its process after it."""

    def __init__(self):
        from vla_sim.core.types import Outcome
        from vla_sim.envs.judge import Judge

        Judge.outcome = lambda *args, **kwargs: Outcome.SUCCESS


class ChangesTheDefaultType(Straight):
    def __init__(self):
        import torch

        torch.set_default_dtype(torch.float64)


class HoldsAPort(Straight):
    """Raises once; its port is still bound then, so that it cannot be made again in the same process."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", int(os.environ["WILD_PORT"])))
        _KEPT.append(self.socket)

    def act(self, observation, infos=None):
        once = Path(os.environ["WILD_FOLDER"]) / "raised"
        if not once.exists():
            once.touch()
            raise RuntimeError("the first image was odd")
        return super().act(observation, infos)


_KEPT = []


class HangsAtTheStart(Straight):
    def __init__(self):
        time.sleep(600)


class CannotStart(Straight):
    def __init__(self):
        raise OSError("no such weights")


class Forks(Straight):
    """A child that comes back into the worker's loop."""

    def act(self, observation, infos=None):
        if not hasattr(self, "forked"):
            self.forked = os.fork()
            if self.forked == 0:
                raise RuntimeError("in the child")
        return super().act(observation, infos)


class RaisesOnce(Straight):
    """An exception that a second try hides."""

    def act(self, observation, infos=None):
        once = Path(os.environ["WILD_FOLDER"]) / "raised"
        if not once.exists():
            once.touch()
            raise RuntimeError("the first image was odd")
        return super().act(observation, infos)
