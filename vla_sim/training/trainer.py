"""The loop of learning: steps, learning rate, averaged weights, checkpoints that resume, a log.

A run is a list of stages ("clone", "dagger_1", ...), each a number of minutes or steps; one may let the learning rate
decay. A checkpoint holds everything but the data: give the same source again before going on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.memory import keep_freed_memory
from vla_sim.policies.weights import write_weights
from vla_sim.training.config import TrainConfig

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint.safetensors"
LOG = "training.jsonl"


class Source(Protocol):
    """What batches are drawn from."""

    @property
    def episodes(self) -> int:
        """How many there are."""

    def draw(self, rng: np.random.Generator) -> Any:
        """The next batch, with `frames`, the number of images in it."""


class Learner(ABC):
    """Learns from a source; see the module's docstring.

    Args:
        model: all its parameters that ask for gradients are learned.
        source: gives the batches.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
    """

    model: torch.nn.Module

    def __init__(self, model: torch.nn.Module, source: Source, config: TrainConfig, out_dir: Path) -> None:
        import torch

        keep_freed_memory()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.source = source
        self.config = config
        self.out_dir = Path(out_dir)
        self.step = 0
        self.images_seen = 0
        self.seconds = 0.0
        self.stages: dict[str, dict[str, float]] = {}
        self._rng = np.random.default_rng(config.seed)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.learning_rate)
        self._average = {name: tensor.clone() for name, tensor in _learned_state(model).items()}

    @property
    @abstractmethod
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, as in the log."""

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, ...]:
        """The losses of a batch, scalars in the order of `loss_names`."""

    def total(self, losses: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """What is minimised: their sum."""
        import torch

        return torch.stack(losses).sum()

    def autocast(self) -> Any:
        """A context of the config's precision."""
        import torch

        return torch.autocast("cpu", torch.bfloat16, enabled=_in_bfloat16(self.config.precision))

    def run(
        self,
        stage: str,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        until: int | None = None,
        decay: bool = False,
        log: Callable[[Mapping[str, Any]], None] | None = None,
        checkpoint_every_s: float = 120.0,
    ) -> None:
        """Train until the stage is done; a stage that a checkpoint holds goes on where it was.

        Args:
            stage: its name, new for each stage of a run.
            minutes: how long in all.
            steps: how long in all, instead of minutes; only steps make two runs alike.
            until: pause after so many steps of the stage, the schedule being that of all `steps`.
            decay: let the learning rate fall to its final share (half a cosine) over the stage.
            log: called with each line that goes into `training.jsonl`.
            checkpoint_every_s: seconds between checkpoints; one is written at the end in any case.
        """
        if (minutes is None) == (steps is None):
            raise ValueError("give minutes or steps, and not both")
        if not self.source.episodes:
            raise ValueError("nothing to learn from: add episodes first")
        progress = self.stages.setdefault(stage, {"steps": 0, "seconds": 0.0})
        self.model.train()
        report = _Report(self, stage, log)
        last_save = time.monotonic()
        while (share := _share(progress, minutes, steps)) < 1 and (until is None or progress["steps"] < until):
            begin = time.monotonic()
            rate = self._rate(share if decay else 0.0)
            batch = self.source.draw(self._rng)
            losses = self._learn(batch, rate)
            taken = time.monotonic() - begin
            self.step += 1
            self.images_seen += batch.frames
            self.seconds += taken
            progress["steps"] += 1
            progress["seconds"] += taken
            report.note(losses, rate, batch.frames, taken)
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

    def _learn(self, batch: Any, rate: float) -> tuple[float, ...]:
        import torch

        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        losses = self.losses(self.model, batch)
        self.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm, foreach=True)
        self._optimiser.step()
        self._update_average()
        values = tuple(loss.item() for loss in losses)
        if not all(map(math.isfinite, values)):
            raise UserError(
                f"the loss is not a number any more at step {self.step}: lower the learning rate (--learning-rate), or "
                "look at the data with vla_sim.audit"
            )
        return values

    def _update_average(self) -> None:
        import torch

        # Young averages follow fast, else the random start would be part of them for long.
        weight = 1 - min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        current = _learned_state(self.model)
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([self._average[n] for n in floats], [current[n] for n in floats], weight)
        for name in current.keys() - set(floats):
            self._average[name].copy_(current[name])

    def averaged(self) -> Any:
        """A copy of the model with the averaged weights, for evaluation."""
        import copy

        model = copy.deepcopy(self.model)
        model.load_state_dict(self._average, strict=False)
        return model.eval()

    @property
    def checkpoint(self) -> Path:
        """Where `save` writes."""
        return self.out_dir / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint; a kill at any time leaves the old or the new one."""
        tensors = {f"model.{name}": tensor for name, tensor in _learned_state(self.model).items()}
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
        write_weights(self.checkpoint, tensors, {"progress": json.dumps(progress)})

    def load(self) -> None:
        """Go on from the checkpoint in `out_dir`.

        Raises:
            UserError: it is missing, cannot be read, or was made with another configuration or model.
        """
        tensors, progress = _read_checkpoint(self.checkpoint)
        made_with = progress["config"]
        if json.loads(json.dumps(dataclasses.asdict(self.config))) != made_with:
            raise UserError(f"{self.checkpoint} was made with another configuration: {made_with}")
        given, wanted = _under(tensors, "model."), _learned_state(self.model)
        for name in sorted(given.keys() | wanted.keys()):
            if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
                raise UserError(f"{self.checkpoint} belongs to another model: {name} differs")
        self.model.load_state_dict(given, strict=False)
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


def _learned_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors that learning may change, each under one name: frozen weights are those of their own folders."""
    frozen = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in frozen:
            found.setdefault(id(tensor), (name, tensor.detach()))
    return dict(found.values())


def _in_bfloat16(precision: str) -> bool:
    import torch

    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return precision == "bfloat16" or (precision == "auto" and supported)


class _Report:
    """Writes a line to the log every few seconds."""

    EVERY_S = 10.0

    def __init__(self, learner: Learner, stage: str, log: Callable[[Mapping[str, Any]], None] | None) -> None:
        self._learner, self._stage, self._log = learner, stage, log
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
        means = np.mean(self._losses, axis=0)
        line = {
            "stage": self._stage,
            "step": self._learner.step,
            "seconds": round(self._learner.seconds, 1),
            **{f"loss_{name}": round(float(m), 5) for name, m in zip(self._learner.loss_names, means, strict=True)},
            "learning_rate": self._rate,
            "images_per_s": round(self._images / self._seconds, 1),
            "episodes": self._learner.source.episodes,
        }
        self._learner.out_dir.mkdir(parents=True, exist_ok=True)
        with (self._learner.out_dir / LOG).open("a", encoding="utf-8") as file:
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


def _decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
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
