"""Behaviour cloning of both heads at once from labelled episodes: aggregates (DAgger), resumes, exports.

A run is a list of stages ("clone", "dagger_1", ...), each a number of minutes or steps; the last one lets the learning
rate decay. A checkpoint holds everything but the episodes: add the same ones in the same order before going on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.errors import UserError
from vla_sim.learning.augmentation import colour_matrices, mirror_text, shifted, vary_text
from vla_sim.specs import ACTION_NAMES

if TYPE_CHECKING:
    import torch

    from vla_sim.policies.clip import DrivingModel
    from vla_sim.policies.tokenizer import InstructionTokenizer

CHECKPOINT = "checkpoint.safetensors"
LOG = "training.jsonl"
# Sign of each action component in the mirrored world.
PRECISIONS = ("auto", "float32", "bfloat16")
MIRROR_SIGN = {"vx": 1.0, "vy": -1.0, "wz": -1.0}


@dataclass
class Sequences:
    """Labelled episodes, padded to the longest.

    Attributes:
        images: uint8 (E, T, h, w, 3) at the model's resolution; an array or a memory map.
        texts: per episode, equivalent phrasings of its instruction, at least one.
        actions: float32 (E, T, A), the expert's twist at each step in m/s and rad/s.
        mask: bool (E, T), which steps exist; each episode starts at 0 and has no gap.
        groups: per episode, what it is counted under (a scenario, say): groups are drawn equally often. Empty: all one.
        goals: float32 (E, T, 2), where the goal is in each picture: (right, down) as shares of its sides, NaN where it
            is outside. None: nowhere known.
    """

    images: np.ndarray
    texts: list[list[str]]
    actions: np.ndarray
    mask: np.ndarray
    groups: list[str] = field(default_factory=list)
    goals: np.ndarray | None = None

    def __post_init__(self) -> None:
        episodes, steps = self.mask.shape
        if self.images.dtype != np.uint8 or self.images.ndim != 5 or self.images.shape[4] != 3:
            raise ValueError(f"images must be uint8 (E, T, h, w, 3), got {self.images.dtype} {self.images.shape}")
        if self.images.shape[:2] != (episodes, steps) or self.actions.shape[:2] != (episodes, steps):
            raise ValueError(
                f"images, actions and mask must agree on (E, T), got {self.images.shape[:2]}, "
                f"{self.actions.shape[:2]} and {self.mask.shape}"
            )
        if len(self.texts) != episodes or not all(self.texts):
            raise ValueError(f"texts must give each of {episodes} episodes at least one phrasing")
        self.groups = list(self.groups) or [""] * episodes
        if len(self.groups) != episodes:
            raise ValueError(f"groups must be one for each of {episodes} episodes, got {len(self.groups)}")
        lengths = self.mask.sum(axis=1)
        if not np.array_equal(self.mask, np.arange(steps) < lengths[:, None]) or (lengths == 0).any():
            raise ValueError("mask must be True from an episode's start on without a gap, and never empty")
        if not np.isfinite(self.actions[self.mask]).all():
            raise ValueError("actions must be finite")
        if self.goals is None:
            self.goals = np.full((episodes, steps, 2), np.nan, dtype=np.float32)
        if self.goals.shape != (episodes, steps, 2):
            raise ValueError(f"goals must have shape (E, T, 2), got {self.goals.shape}")


@dataclass(frozen=True)
class TrainConfig:
    """How to learn.

    Attributes:
        action_names, action_scale: components of an action, and the m/s or rad/s that become 1.
        batch_episodes: episodes per step.
        max_steps: longest stretch of an episode that gradients flow through.
        learning_rate, warmup_steps, final_share: peak, steps up to it, share of it at the end of a decaying stage.
        weight_decay: of matrices; vectors have none.
        huber_beta: error (of a normalised action) from which on the loss is linear.
        clip_norm: largest norm of the gradient.
        ema_decay: per step, of the averaged weights that are exported.
        mirror: probability of mirroring an episode.
        jitter: strength of changes of colour, 0 for none.
        shift_px: largest shift of the picture.
        vary_words: share of unimportant words dropped, and again garbled.
        where_weight: weight of the lesson in which cell of the picture the goal is.
        precision: "float32", "bfloat16" (mixed), or "auto": bfloat16 where the processor computes in it, which
            takes little more than half the time.
        seed: of everything random.
    """

    action_names: tuple[str, ...] = ("vx", "vy")
    action_scale: float = 0.5
    batch_episodes: int = 24
    max_steps: int = 40
    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    final_share: float = 0.02
    weight_decay: float = 0.02
    huber_beta: float = 0.1
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
        for name in ("action_scale", "batch_episodes", "max_steps", "learning_rate", "huber_beta", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("mirror", "ema_decay", "vary_words", "final_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if any(name not in ACTION_NAMES for name in self.action_names):
            raise ValueError(f"action_names must be some of {ACTION_NAMES}, got {self.action_names}")


@dataclass(frozen=True)
class Batch:
    """What one step learns from: F frames of E episodes, episode after episode.

    Attributes:
        images: uint8 (F, h, w, 3).
        colour: matrix (F, 3, 3) and offset (F, 3) of the change of colour.
        ids: int64 (E, context_length).
        actions: float32 (F, A), normalised.
        goals: float32 (F, 2), see `Sequences`.
        mask: bool (E, T).
    """

    images: np.ndarray
    colour: tuple[np.ndarray, np.ndarray]
    ids: np.ndarray
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray


class Sampler:
    """Draws augmented batches from all episodes added so far."""

    def __init__(self, config: TrainConfig, tokenizer: InstructionTokenizer) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._parts: list[Sequences] = []
        self._groups: dict[str, list[tuple[int, int]]] = {}
        self._sign = np.array([MIRROR_SIGN[name] for name in config.action_names], dtype=np.float32)

    @property
    def episodes(self) -> int:
        """How many there are."""
        return sum(len(part.mask) for part in self._parts)

    def add(self, part: Sequences) -> None:
        """Add episodes."""
        if part.actions.shape[2] != len(self._config.action_names):
            raise ValueError(
                f"actions must have columns {list(self._config.action_names)}, got {part.actions.shape[2]}"
            )
        for episode, group in enumerate(part.groups):
            self._groups.setdefault(group, []).append((len(self._parts), episode))
        self._parts.append(part)

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next batch."""
        config = self._config
        chosen = [self._episode(rng) for _ in range(config.batch_episodes)]
        frames, actions, goals, texts = zip(*chosen, strict=True)
        lengths = np.array([len(part) for part in frames])
        matrix, offset = colour_matrices(len(chosen), rng, strength=config.jitter)
        return Batch(
            images=np.concatenate(frames),
            colour=(matrix.repeat(lengths, axis=0), offset.repeat(lengths, axis=0)),
            ids=self._tokenizer.encode(texts),
            actions=np.concatenate(actions),
            goals=np.concatenate(goals),
            mask=np.arange(lengths.max()) < lengths[:, None],
        )

    def _episode(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """Frames, normalised actions, places of the goal and text of one augmented episode."""
        config = self._config
        names = list(self._groups)
        members = self._groups[names[rng.integers(len(names))]]
        part_index, episode = members[rng.integers(len(members))]
        part = self._parts[part_index]
        span = _span(int(part.mask[episode].sum()), config.max_steps, rng)
        frames, actions = part.images[episode, span], part.actions[episode, span] / np.float32(config.action_scale)
        assert part.goals is not None
        goals, texts = np.array(part.goals[episode, span]), part.texts[episode]
        text = texts[rng.integers(len(texts))]
        if rng.random() < config.mirror:
            frames, actions, text = frames[:, :, ::-1], actions * self._sign, mirror_text(text)
            goals[:, 0] = 1 - goals[:, 0]
        down, right = rng.integers(-config.shift_px, config.shift_px + 1, size=2)
        goals += np.array([right / frames.shape[2], down / frames.shape[1]], dtype=np.float32)
        frames = shifted(frames, int(down), int(right))
        return frames, actions.astype(np.float32), goals, vary_text(text, rng, share=config.vary_words)


def _span(length: int, longest: int, rng: np.random.Generator) -> slice:
    """The stretch of an episode to learn from: its start half of the time, else anywhere."""
    spare = length - longest
    start = int(rng.integers(spare + 1)) if spare > 0 and rng.random() < 0.5 else 0
    return slice(start, min(length, start + longest))


class Trainer:
    """Learns from what was added; see the module's docstring.

    Args:
        model: both heads on a backbone.
        tokenizer: the one whose sizes the model has.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
    """

    def __init__(
        self, model: DrivingModel, tokenizer: InstructionTokenizer, config: TrainConfig, out_dir: Path
    ) -> None:
        import torch

        _keep_freed_memory()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tokenizer = tokenizer
        self.config = config
        self.out_dir = Path(out_dir)
        self.step = 0
        self.images_seen = 0
        self.seconds = 0.0
        self.stages: dict[str, dict[str, float]] = {}
        self.sampler = Sampler(config, tokenizer)
        self._rng = np.random.default_rng(config.seed)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.learning_rate)
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def add(self, sequences: Sequences) -> None:
        """Learn from these too, from now on."""
        self.sampler.add(sequences)

    def run(
        self,
        stage: str,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        decay: bool = False,
        log: Callable[[Mapping[str, Any]], None] | None = None,
        checkpoint_every_s: float = 120.0,
    ) -> None:
        """Train until the stage is done; a stage that a checkpoint holds goes on where it was.

        Args:
            stage: its name, new for each stage of a run.
            minutes: how long in all.
            steps: how long in all, instead of minutes; only steps make two runs alike.
            decay: let the learning rate fall to its final share (half a cosine) over the stage.
            log: called with each line that goes into `training.jsonl`.
            checkpoint_every_s: seconds between checkpoints; one is written at the end in any case.
        """
        if (minutes is None) == (steps is None):
            raise ValueError("give minutes or steps, and not both")
        if not self.sampler.episodes:
            raise ValueError("nothing to learn from: add episodes first")
        progress = self.stages.setdefault(stage, {"steps": 0, "seconds": 0.0})
        self.model.train()
        report = _Report(self, stage, log)
        last_save = time.monotonic()
        while (share := _share(progress, minutes, steps)) < 1:
            begin = time.monotonic()
            rate = self._rate(share if decay else 0.0)
            batch = self.sampler.draw(self._rng)
            losses = self._learn(batch, rate)
            taken = time.monotonic() - begin
            self.step += 1
            self.images_seen += len(batch.images)
            self.seconds += taken
            progress["steps"] += 1
            progress["seconds"] += taken
            report.note(losses, rate, len(batch.images), taken)
            if time.monotonic() - last_save > checkpoint_every_s:
                self.save()
                last_save = time.monotonic()
        report.flush()
        self.save()

    def _rate(self, decayed: float) -> float:
        config = self.config
        warm = min(1.0, (self.step + 1) / max(1, config.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * decayed))
        return config.learning_rate * warm * (config.final_share + (1 - config.final_share) * cosine)

    def _learn(self, batch: Batch, rate: float) -> tuple[float, ...]:
        import torch

        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        recurrent, single, where = self._losses(self.model, batch)
        (recurrent + single + self.config.where_weight * where).backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm, foreach=True)
        self._optimiser.step()
        self._update_average()
        values = recurrent.item(), single.item(), where.item()
        if not all(map(math.isfinite, values)):
            raise FloatingPointError(f"the loss is not finite at step {self.step}: {values}")
        return values

    def _losses(self, model: DrivingModel, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Of the LSTM head, of the MLP head, of the lesson in which cell the goal is."""
        import torch
        from torch.nn.functional import cross_entropy, smooth_l1_loss

        target, grid = torch.from_numpy(batch.actions), model.config.grid
        with torch.autocast("cpu", torch.bfloat16, enabled=_in_bfloat16(self.config.precision)):
            outputs = model(self._pixels(batch), torch.from_numpy(batch.ids), torch.from_numpy(batch.mask))
        *actions, cells = (output.float() for output in outputs)
        recurrent, single = (smooth_l1_loss(action, target, beta=self.config.huber_beta) for action in actions)
        cell, seen = _cells(batch.goals, grid)
        where = cross_entropy(cells[torch.from_numpy(seen)], torch.from_numpy(cell)) if seen.any() else cells.sum() * 0
        return recurrent, single, where

    def _pixels(self, batch: Batch) -> torch.Tensor:
        """Recoloured and normalised, (F, 3, h, w)."""
        import torch

        from vla_sim.policies.clip import PIXEL_MEAN, PIXEL_STD

        frames, height, width, _ = batch.images.shape
        # Colour by colour, with the normalisation in the same product: five times faster than pixel by pixel.
        flat = torch.from_numpy(batch.images).view(frames, height * width, 3).transpose(1, 2)
        planes = flat.to(torch.float32, memory_format=torch.contiguous_format)
        matrix, offset = map(torch.from_numpy, batch.colour)
        shift = ((offset - PIXEL_MEAN) / PIXEL_STD)[:, :, None]
        pixels = torch.baddbmm(shift, (matrix / PIXEL_STD).transpose(1, 2), planes)
        limit = PIXEL_MEAN / PIXEL_STD
        return pixels.clamp_(-limit, limit).view(frames, 3, height, width)

    def _update_average(self) -> None:
        import torch

        # Young averages follow fast, else the random start would be part of them for long.
        weight = 1 - min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        current = self.model.state_dict()
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([self._average[n] for n in floats], [current[n] for n in floats], weight)
        for name in current.keys() - set(floats):
            self._average[name].copy_(current[name])

    def averaged(self) -> DrivingModel:
        """A copy of the model with the averaged weights, for evaluation."""
        import copy

        model = copy.deepcopy(self.model)
        model.load_state_dict(self._average)
        return model.eval()

    def validate(self, sequences: Sequences, *, batch_episodes: int = 50) -> dict[str, float]:
        """Losses of the averaged model on episodes that it has not learned from, nothing augmented."""
        import torch

        plain = dataclasses.replace(self.config, mirror=0, jitter=0, shift_px=0, vary_words=0, max_steps=10**6)
        model = self.averaged()
        sums, frames = np.zeros(3), 0
        for first in range(0, len(sequences.mask), batch_episodes):
            batch = whole_batch(
                sequences, range(first, min(first + batch_episodes, len(sequences.mask))), plain, self.tokenizer
            )
            with torch.inference_mode():
                losses = self._losses(model, batch)
            sums += [loss.item() * len(batch.images) for loss in losses]
            frames += len(batch.images)
        return {"loss_lstm": sums[0] / frames, "loss_mlp": sums[1] / frames, "loss_where": sums[2] / frames}

    @property
    def checkpoint(self) -> Path:
        """Where `save` writes."""
        return self.out_dir / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint; a kill at any time leaves the old or the new one."""
        from safetensors.torch import save_file

        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        for index, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        progress = {
            "step": self.step,
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "stages": self.stages,
            "config": dataclasses.asdict(self.config),
            "rng": self._rng.bit_generator.state,
        }
        self.out_dir.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata={"progress": json.dumps(progress)})
        os.replace(partial, self.checkpoint)

    def load(self) -> None:
        """Go on from the checkpoint in `out_dir`.

        Raises:
            UserError: it is missing, cannot be read, or was made with another configuration or model.
        """
        tensors, progress = _read_checkpoint(self.checkpoint)
        made_with = progress["config"]
        if json.loads(json.dumps(dataclasses.asdict(self.config))) != made_with:
            raise UserError(f"{self.checkpoint} was made with another configuration: {made_with}")
        try:
            self.model.load_state_dict(_under(tensors, "model."))
        except RuntimeError as error:
            raise UserError(f"{self.checkpoint} belongs to another model: {error}") from error
        for name, tensor in _under(tensors, "average.").items():
            self._average[name].copy_(tensor)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
        self._rng.bit_generator.state = progress["rng"]
        self.step, self.images_seen, self.seconds = progress["step"], progress["images_seen"], progress["seconds"]
        self.stages = progress["stages"]

    def export(self, root: Path, *, notes: str = "") -> None:
        """Write policy folders `clip_small`, `clip_lstm`, `clip_mlp` and `ensemble` with the averaged weights.

        Args:
            root: the folder that they go into; usually `policies/`.
            notes: more lines for the model cards, e.g. scores.
        """
        from vla_sim.learning.export import export_policies

        facts = {"steps": self.step, "images_seen": self.images_seen, "minutes": round(self.seconds / 60, 1)}
        facts |= {"episodes": self.sampler.episodes, "seed": self.config.seed}
        export_policies(
            self.averaged(),
            self.tokenizer,
            Path(root),
            action_names=self.config.action_names,
            action_scale=self.config.action_scale,
            facts=facts,
            notes=notes,
        )


def _in_bfloat16(precision: str) -> bool:
    import torch

    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return precision == "bfloat16" or (precision == "auto" and supported)


def _cells(goals: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the cell of each goal that is in its picture, int64 (n,), and which those are, bool (F,)."""
    with np.errstate(invalid="ignore"):
        seen: np.ndarray = np.all((goals >= 0) & (goals < 1), axis=1)
    columns, rows = (goals[seen] * grid).astype(np.int64).T
    return rows * grid + columns, seen


def _keep_freed_memory() -> None:
    """Let the C library reuse large blocks instead of handing them back to the system (glibc; elsewhere nothing).

    A step allocates and frees hundreds of megabytes. Fresh pages for each of them cost a third of its time.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 2**30)


def fresh_model(tokenizer: InstructionTokenizer, *, seed: int = 0, actions: int = 2, **sizes: Any) -> DrivingModel:
    """A model for this tokenizer, initialised from a seed.

    Args:
        tokenizer: gives vocabulary and context length.
        seed: of the initial weights.
        actions: components of an action.
        sizes: other fields of `ClipConfig`.
    """
    import torch

    from vla_sim.policies.clip import ClipConfig, DrivingModel

    config = ClipConfig(vocab_size=tokenizer.vocab_size, context_length=tokenizer.context_length, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DrivingModel(config, actions=actions)


def whole_batch(
    sequences: Sequences, episodes: Sequence[int], config: TrainConfig, tokenizer: InstructionTokenizer
) -> Batch:
    """These episodes as they are, each with its first phrasing."""
    mask = sequences.mask[list(episodes)]
    frames = int(mask.sum())
    return Batch(
        images=sequences.images[list(episodes)][mask],
        colour=(np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1)), np.zeros((frames, 3), dtype=np.float32)),
        ids=tokenizer.encode([sequences.texts[episode][0] for episode in episodes]),
        actions=(sequences.actions[list(episodes)][mask] / config.action_scale).astype(np.float32),
        goals=sequences.goals[list(episodes)][mask],  # type: ignore[index]
        mask=mask,
    )


class _Report:
    """Writes a line to the log every few seconds."""

    EVERY_S = 10.0

    def __init__(self, trainer: Trainer, stage: str, log: Callable[[Mapping[str, Any]], None] | None) -> None:
        self._trainer, self._stage, self._log = trainer, stage, log
        self._losses: list[tuple[float, ...]] = []
        self._images, self._seconds, self._rate = 0, 0.0, 0.0

    def note(self, losses: tuple[float, ...], rate: float, images: int, seconds: float) -> None:
        """Add a step."""
        self._losses.append(losses)
        self._images += images
        self._seconds += seconds
        self._rate = rate
        if self._seconds >= self.EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._losses:
            return
        recurrent, single, where = np.mean(self._losses, axis=0)
        line = {
            "stage": self._stage,
            "step": self._trainer.step,
            "seconds": round(self._trainer.seconds, 1),
            "loss_lstm": round(float(recurrent), 5),
            "loss_mlp": round(float(single), 5),
            "loss_where": round(float(where), 4),
            "learning_rate": self._rate,
            "images_per_s": round(self._images / self._seconds, 1),
            "episodes": self._trainer.sampler.episodes,
        }
        self._trainer.out_dir.mkdir(parents=True, exist_ok=True)
        with (self._trainer.out_dir / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._log is not None:
            self._log(line)
        self._losses, self._images, self._seconds = [], 0, 0.0


def _share(progress: Mapping[str, float], minutes: float | None, steps: int | None) -> float:
    """How much of a stage is done."""
    if steps is not None:
        return progress["steps"] / max(1, steps) if steps > 0 else 1.0
    assert minutes is not None
    return progress["seconds"] / (60 * minutes) if minutes > 0 else 1.0


def _decay_groups(model: DrivingModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and the like do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no checkpoint to go on from: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["progress"])  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint cannot be read: {error} ({path})") from error
