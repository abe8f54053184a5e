"""How to learn: the numbers of behaviour cloning."""

from __future__ import annotations

from dataclasses import dataclass

from vla_sim.core.specs import ACTION_NAMES

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """How to learn.

    Attributes:
        action_names, action_scale: components of an action, and the m/s or rad/s that become 1: one number for all,
            or one for each.
        batch_episodes: episodes per step.
        max_steps: longest stretch of an episode that gradients flow through.
        learning_rate, warmup_steps, final_share: peak, steps up to it, share of it at the end of a decaying stage.
        weight_decay: of matrices; vectors have none.
        clip_norm: largest norm of the gradient.
        ema_decay: per step, of the averaged weights that are exported.
        mirror: probability of mirroring an episode.
        jitter: strength of changes of colour, 0 for none.
        shift_px: largest shift of the image.
        vary_words: share of unimportant words dropped, and again garbled.
        where_weight: weight of the lesson in which cell of the image the goal is.
        precision: "float32", "bfloat16" (mixed), or "auto": bfloat16 where the processor computes in it, which
            takes little more than half the time.
        seed: of everything random.
    """

    action_names: tuple[str, ...] = ("vx", "vy")
    action_scale: float | tuple[float, ...] = 0.5
    batch_episodes: int = 24
    max_steps: int = 40
    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    final_share: float = 0.02
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.995
    mirror: float = 0.5
    jitter: float = 1.0
    shift_px: int = 2
    vary_words: float = 0.08
    where_weight: float = 0.1
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.action_names) or not all(scale > 0 for scale in self.scale):
            raise ValueError(f"action_scale must be positive for each of {self.action_names}, got {self.action_scale}")
        for name in ("batch_episodes", "max_steps", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("mirror", "ema_decay", "vary_words", "final_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if any(name not in ACTION_NAMES for name in self.action_names):
            raise ValueError(f"action_names must be some of {ACTION_NAMES}, got {self.action_names}")

    @property
    def scale(self) -> tuple[float, ...]:
        """The m/s or rad/s of an action of 1, for each component."""
        one = self.action_scale
        return one if isinstance(one, tuple) else (one,) * len(self.action_names)
