"""The small backbones that all rows of the benchmark share: trained once, frozen, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.grounding import GroundingTrainer
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.folders import CONFIG, TOKENIZER
from vla_sim.training.batches import Sampler
from vla_sim.training.config import TrainConfig
from vla_sim.training.recorded import shares

if TYPE_CHECKING:
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.tokenizer import InstructionTokenizer

VOCABULARY = 800
# Side of the images that small backbones read.
SMALL_IMAGE_PX = 96
# Kosmos-2 is the slower learner: its decoder has to find the image among its tokens first.
STEPS = {"clip": 900, "kosmos2": 900}
CONFIG_OF_TRAINING = {"batch_episodes": 256, "max_steps": 2}


def train_backbone(
    name: str,
    parts: Sequence[Demonstrations],
    out: Path,
    *,
    seed: int = 0,
    scale: float = 1.0,
    log: Callable[[Mapping[str, Any]], None] | None = None,
) -> Path:
    """Train one backbone, or go on with it; its folder is `backbone_<name>` in `out/policies`.

    Args:
        name: "clip" or "kosmos2".
        parts: demonstrations.
        out: working folder.
        seed: of weights and batches.
        scale: factor on the steps.
        log: see `Learner.run`.
    """
    import torch

    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.models.presets import preset
    from vla_sim.policies.models.texts import TextReader

    target = out / "policies" / f"backbone_{name}"
    if (target / CONFIG).is_file():
        return target
    tokenizer = row_tokenizer(parts)
    sizes = {"vocab_size": tokenizer.vocab_size, "context_length": tokenizer.context_length}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VlaModel(preset(f"{name}-small", head={"kind": "mlp"}, **sizes))
    config = TrainConfig(seed=seed, **CONFIG_OF_TRAINING)  # type: ignore[arg-type]
    trainer = GroundingTrainer(model, TextReader.small(tokenizer, [name]), config, out / "backbones" / name)
    trainer.source = Sampler(config, shares(parts))
    for part in parts:
        trainer.source.add(part)
    if trainer.checkpoint.exists():
        trainer.load()
    trainer.run("pretrain", steps=max(1, round(STEPS[name] * scale)), decay=True, log=log)
    facts = {"steps": trainer.step, "images_seen": trainer.images_seen, "minutes": round(trainer.seconds / 60, 1)}
    _export(trainer.averaged(), tokenizer, target, {**facts, "seed": seed})
    return target


def row_tokenizer(parts: Sequence[Demonstrations]) -> InstructionTokenizer:
    """One vocabulary for both backbones: of the instructions, and of Kosmos-2's prompts around them."""
    from vla_sim.policies.models.texts import kosmos2_prompt
    from vla_sim.policies.tokenizer import InstructionTokenizer

    texts = sorted({text for part in parts for phrasings in part.texts for text in phrasings})
    return InstructionTokenizer.trained([*texts, *map(kosmos2_prompt, texts)], vocab_size=VOCABULARY)


def _export(model: VlaModel, tokenizer: InstructionTokenizer, folder: Path, training: Mapping[str, Any]) -> None:
    """The config last, so that a folder with one is complete."""
    from vla_sim.policies.models.loading import save_backbone

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / TOKENIZER)
    kind = model.config.backbone
    description = f"small {kind}, pre-trained on simulated images and instructions; shared by several policies"
    save_backbone(model.backbone, model.config, folder, description=description, training=training)
