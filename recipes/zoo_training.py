"""From cached features to policy folders: one row's head, its gate, its model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.frozen_features import Cached, FeatureSampler, cached, content_key
from recipes.zoo import FUSION, row
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.folders import CONFIG, PolicyFolder
from vla_sim.training.config import TrainConfig

if TYPE_CHECKING:
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.training.behaviour_cloning import Trainer

CONFIG_OF_TRAINING = {"batch_episodes": 48, "learning_rate": 1e-3, "precision": "float32"}
# One look at the demonstrations as they are, the others augmented.
VARIANTS = 3
SMALL_IMAGE_PX = (224, 224)

Log = Callable[[Mapping[str, Any]], None]


class RowTraining:
    """Trains rows on shared features.

    Args:
        parts: demonstrations.
        out: working folder; the backbones lie in `out/policies/backbone_*`.
        seed: of weights and batches.
        scale: factor on the steps.
    """

    def __init__(self, parts: Sequence[Demonstrations], out: Path, *, seed: int = 0, scale: float = 1.0) -> None:
        self._parts, self._out, self._seed, self._scale = list(parts), Path(out), seed, scale
        self._config = TrainConfig(seed=seed, **CONFIG_OF_TRAINING)  # type: ignore[arg-type]
        self._cached: dict[tuple[str, ...], list[Cached]] = {}
        rates = {part.step_s for part in parts if part.step_s is not None}
        self._control_s = rates.pop() if len(rates) == 1 else None

    def policy(self, name: str) -> Path:
        """Where a row's finished policy lies."""
        return self._out / "policies" / name

    def gate(self, name: str) -> Path:
        """Where it is written down how the gate judged a row."""
        return self._out / "rows" / name / "gate.json"

    def train(self, name: str, *, more: float = 0.0, log: Log | None = None) -> Path:
        """Train a row, or go on with it; writes its policy folder and those of its epochs.

        Args:
            name: see `rows.ROWS`.
            more: share of the usual steps to add, after the gate has refused it.
            log: see `Learner.run`.
        """
        spec = row(name)
        trainer = self._trainer(name)
        if trainer.checkpoint.exists():
            trainer.load()
        steps = max(1, round(spec.steps * self._scale))
        done = 0
        for epoch, share in sorted(spec.epochs.items(), key=lambda item: item[1]):
            target = round(steps * share)
            if trainer.step < target or not (self.policy(epoch) / CONFIG).is_file():
                trainer.run(epoch, steps=target - done, log=log)
                number = epoch.rpartition("_")[2]
                self._export(trainer, epoch, f"{spec.description.partition(', after')[0]}, after epoch {number}")
            done = target
        trainer.run("learn", steps=steps - done, decay=True, log=log)
        if more:
            trainer.run(f"more_{more:g}", steps=max(1, round(steps * more)), decay=True, log=log)
        self._export(trainer, name, spec.description)
        return self.policy(name)

    def _trainer(self, name: str) -> Trainer:
        from vla_sim.policies.models.loading import text_reader
        from vla_sim.training.behaviour_cloning import Trainer
        from vla_sim.training.members import Members, Part
        from vla_sim.training.warm_start import Beginning

        spec = row(name)
        backbones = ("kosmos2", "clip") if spec.backbone == "both" else (spec.backbone,)
        variants = self._variants(backbones)
        kept = variants if spec.augmented else variants[: len(self._parts)]
        model = self._model(name, backbones)
        parts = []
        for backbone, module in zip(backbones, model.backbone.parts, strict=True):
            folder = self._backbone_folder(backbone)
            reader = text_reader(folder, model.config).only(backbone)
            parts.append((Part(backbone, folder.name, reader, {}, folder.path), module))
        members = Members({name: model}, parts, [range(len(parts))])
        beginning = Beginning(members, name, self._config.action_names, self._config.scale, control_s=self._control_s)
        return Trainer(beginning, self._config, self._out / "rows" / name, FeatureSampler(kept, self._config))

    def _variants(self, backbones: tuple[str, ...]) -> list[Cached]:
        """All variants of all rounds, those as they are first."""
        if backbones not in self._cached:
            encoders = {name: (self._encoder(name), self._backbone_folder(name).own_hash()) for name in backbones}
            folder = self._out / "features"
            self._cached[backbones] = [
                cached(part, encoders, self._config, folder / f"variant_{v}" / content_key(part), variant=v)
                for v in range(VARIANTS)
                for part in self._parts
            ]
        return self._cached[backbones]

    def _encoder(self, name: str) -> Any:
        from vla_sim.policies.models.loading import load_encoder

        return load_encoder(self._backbone_folder(name))

    def _backbone_folder(self, name: str) -> PolicyFolder:
        return PolicyFolder.read(self.policy(f"backbone_{name}"))

    def _model(self, name: str, backbones: Sequence[str]) -> VlaModel:
        """Fresh behind its backbones."""
        import torch

        from vla_sim.policies.models.config import VlaConfig
        from vla_sim.policies.models.model import VlaModel

        spec = row(name)
        folders = {part: self._backbone_folder(part) for part in backbones}
        shared = {key: value for folder in folders.values() for key, value in _backbone_fields(folder).items()}
        fields = {
            "backbone": spec.backbone,
            "description": spec.description,
            "backbone_folders": {part: folder.name for part, folder in folders.items()},
            "backbone_sha256": {part: folder.own_hash() for part, folder in folders.items()},
            "fusion": FUSION,
            "image_px": SMALL_IMAGE_PX,
            **shared,
            **spec.parts,
        }
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            model = VlaModel(VlaConfig(**fields))
        for part, widths in zip(model.backbone.parts, model.backbone.widths, strict=True):
            folders[widths.name].load_into(part)
        return model

    def _export(self, trainer: Trainer, name: str, description: str) -> None:
        from vla_sim.policies.models.loading import save_policy

        (model,) = trainer.averaged().models
        facts = {
            "steps": trainer.step,
            "images_seen": trainer.images_seen,
            "minutes": round(trainer.seconds / 60, 1),
            "seed": self._seed,
            "augmented": row(name).augmented if "epoch" not in name else True,
        }
        model.config = replace(model.config, description=description, training=facts)
        save_policy(model, {}, self.policy(name), control_s=self._control_s)


def _backbone_fields(folder: PolicyFolder) -> dict[str, Any]:
    """What of a backbone's config belongs into the config of a model on it."""
    kind = str(folder.config["backbone"])
    fields = {key: folder.config[key] for key in (kind, "stem_channels", "context_length")}
    if folder.config.get("prompt_ids"):
        fields["prompt_ids"] = folder.config["prompt_ids"]
    return fields
