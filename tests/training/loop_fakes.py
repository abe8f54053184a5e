"""Small policies and pretended drives for the tests of what trains in the closed loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.tokenizer import InstructionTokenizer
from vla_sim.training.behaviour_cloning import Trainer
from vla_sim.training.closed_loop import ValidationSuite
from vla_sim.training.config import TrainConfig
from vla_sim.training.warm_start import fresh

SIDE_PX = 32
TEXTS = ["go left of the red box", "왼쪽으로 가", "go right of the red box", "오른쪽으로 가"]
TOKENIZER = InstructionTokenizer.trained(TEXTS, vocab_size=300)
SIZES = {"image_px": SIDE_PX, "channels": (8, 16, 16), "fused_channels": 16, "readout_channels": 8, "feature_dim": 32}
CONFIG = TrainConfig(batch_episodes=4, learning_rate=5e-3, warmup_steps=2, ema_decay=0.9, shift_px=0)
SUITE = ValidationSuite(("obstacle_left", "obstacle_right"), range(92_000, 92_004))


def toy(episodes=8, steps=4, seed=0, group="") -> Demonstrations:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (episodes, steps, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    actions = rng.uniform(-0.5, 0.5, (episodes, steps, 2)).astype(np.float32)
    lengths = rng.integers(2, steps + 1, episodes)
    texts = [[TEXTS[i % len(TEXTS)]] for i in range(episodes)]
    return Demonstrations(images, texts, actions, np.arange(steps) < lengths[:, None], [group] * episodes)


def tiny_trainer(folder: Path, seed: int = 1) -> Trainer:
    made = Trainer(fresh(TOKENIZER, seed=seed, **SIZES), CONFIG, folder)
    made.add(toy())
    return made


def tiny_policy(root: Path, seed: int = 1) -> Path:
    """Folder of an untrained clip_lstm with all that it needs beside it."""
    tiny_trainer(root / "made", seed).export(root / "policies")
    return root / "policies" / "clip_lstm"


def successes(count: int, suite: ValidationSuite = SUITE) -> dict[tuple[str, int], bool]:
    """The first `count` worlds succeed."""
    worlds = [(scenario, seed) for scenario in suite.scenarios for seed in suite.seeds]
    return {world: number < count for number, world in enumerate(worlds)}
