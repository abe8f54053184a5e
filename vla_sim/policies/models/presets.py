"""Named configurations: small ones that train on two cores, and the pretrained sizes. Loads transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vla_sim.core.errors import UserError, suggest
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.hub import CLIPConfig, CLIPModel, Kosmos2Config, Kosmos2Model
from vla_sim.policies.models.model import VlaModel

PRESETS = ("kosmos2-small", "clip-small", "both-small", "kosmos2", "clip", "both")
HUB_IDS = {"kosmos2": "microsoft/kosmos-2-patch14-224", "clip": "openai/clip-vit-base-patch32"}
# Small images, cells and text: 6 x 6 patches of 16 pixels.
SMALL_IMAGE_PX, SMALL_STEM, SMALL_WIDTH = 96, (32, 64, 96), 128
SMALL_QUERIES = 16


def preset(name: str, *, vocab_size: int = 0, **changes: Any) -> VlaConfig:
    """A named configuration.

    Args:
        name: one of `PRESETS`.
        vocab_size: ids of the tokenizer, for small ones; Kosmos-2 puts three of its own behind them.
        changes: fields of `VlaConfig` to set instead.

    Raises:
        UserError: there is no such name.
        ValueError: a small one without vocab_size, or a change that makes no sense.
    """
    if name not in PRESETS:
        raise UserError(f"unknown configuration {name!r}; {suggest(name, PRESETS)}")
    backbone, _, small = name.partition("-")
    if not small:
        return VlaConfig(**{"backbone": backbone, "context_length": 64, **changes})
    if vocab_size < 1:
        raise ValueError(f"vocab_size must be that of the tokenizer for {name!r}, got {vocab_size}")
    context = int(changes.get("context_length", 48))
    fields: dict[str, Any] = {"backbone": backbone, "stem_channels": SMALL_STEM, "context_length": context}
    if backbone in ("kosmos2", "both"):
        fields["kosmos2"] = small_kosmos2(vocab_size, context)
        fields["prompt_ids"] = {"bos": vocab_size, "image": vocab_size + 1, "image_end": vocab_size + 2}
    if backbone in ("clip", "both"):
        fields["clip"] = small_clip(vocab_size, context)
    return VlaConfig(**{**fields, **changes})


def small_kosmos2(vocab_size: int, context_length: int) -> Kosmos2Config:
    """Two layers for images, two for text."""
    text = {
        "vocab_size": vocab_size + 3,
        # Kosmos-2 counts its positions from behind the padding's id.
        "max_position_embeddings": context_length + SMALL_QUERIES + 8,
        "embed_dim": SMALL_WIDTH,
        "layers": 2,
        "ffn_dim": 2 * SMALL_WIDTH,
        "attention_heads": 4,
        "init_std": SMALL_WIDTH**-0.5,
        "pad_token_id": 0,
        "bos_token_id": vocab_size,
        "eos_token_id": vocab_size - 1,
        **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0),
    }
    return Kosmos2Config(text_config=text, vision_config=_small_vision(), latent_query_num=SMALL_QUERIES)


def small_clip(vocab_size: int, context_length: int) -> CLIPConfig:
    """Two layers for images, two for text; the end token is the tokenizer's last id."""
    text = {
        "vocab_size": vocab_size,
        "hidden_size": SMALL_WIDTH,
        "intermediate_size": 2 * SMALL_WIDTH,
        "projection_dim": SMALL_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context_length,
        "pad_token_id": 0,
        "bos_token_id": vocab_size - 1,
        "eos_token_id": vocab_size - 1,
    }
    vision = {**_small_vision(), "projection_dim": SMALL_WIDTH}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=SMALL_WIDTH)


def _small_vision() -> dict[str, Any]:
    return {
        "hidden_size": SMALL_WIDTH,
        "intermediate_size": 2 * SMALL_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SMALL_IMAGE_PX,
        "patch_size": 16,
    }


def with_pretrained(
    config: VlaConfig,
    sources: Mapping[str, str | Path] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    download: bool = False,
) -> VlaModel:
    """A model of that config whose backbones hold pretrained weights; all behind them is fresh.

    Args:
        config: its "kosmos2" and "clip" must be those of the weights.
        sources: local folder or hub id for "kosmos2" and "clip", `HUB_IDS` where it says nothing; for "open_clip" one
            of its checkpoint files.
        dtype: of the weights.
        download: ask the hub; otherwise only folders and what was downloaded before are used.

    Raises:
        UserError: weights are missing, are pickles, or do not fit.
    """
    given = dict(sources or {})
    for name in given:
        if name not in (*HUB_IDS, "open_clip"):
            raise UserError(f"unknown backbone {name!r}; {suggest(name, [*HUB_IDS, 'open_clip'])}")
    if config.stem_channels:
        raise UserError(f"pretrained backbones have no stem; leave out stem_channels {list(config.stem_channels)}")
    model = VlaModel(config).to(dtype=dtype)
    if config.open_clip is not None:
        from vla_sim.policies.models.open_clip import read_open_clip_file

        if "open_clip" not in given:
            raise UserError("name the checkpoint file of the open_clip model: nothing is fetched")
        read_open_clip_file(Path(given["open_clip"]), model.backbone.open_clip)
    for name, kind in (("kosmos2", Kosmos2Model), ("clip", CLIPModel)):
        for owner in [module for module in model.modules() if isinstance(getattr(module, name, None), kind)]:
            source = str(given.get(name, HUB_IDS[name]))
            loaded = load_pretrained(kind, source, getattr(config, name), dtype=dtype, download=download)
            setattr(owner, name, loaded)
    return model


def load_pretrained(kind: Any, source: str, config: Any, *, dtype: torch.dtype, download: bool = False) -> Any:
    """Weights of `Kosmos2Model` or `CLIPModel`; see `with_pretrained`."""
    try:
        model, report = kind.from_pretrained(
            source,
            config=config,
            dtype=dtype,
            local_files_only=not download,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(_missing(source, download, error)) from error
    if report["missing_keys"]:
        raise UserError(f"weights of {source} do not fit: they miss {', '.join(sorted(report['missing_keys'])[:3])}")
    return model


def _missing(source: str, download: bool, error: Exception) -> str:
    where = "a folder" if Path(source).is_dir() else "neither a folder nor among the downloaded models"
    hint = "" if download or Path(source).is_dir() else ", or allow the download from the hub"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"pretrained weights {source!r} cannot be used ({where}): {first}. "
        f"Name a local folder with config.json and model.safetensors{hint}; small models need none of this"
    )


def open_clip_policy(
    model: str,
    checkpoint: Path,
    folder: Path,
    *,
    action: Mapping[str, Any] | None = None,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Write a policy folder on a tower of open_clip, its head untrained: `clone --init` and `dagger --init` train it.

    Args:
        model: a name of open_clip's, e.g. "ViT-B-32".
        checkpoint: one of its files.
        folder: of the policy.
        action: see `specs.ActionSpec`.
        seed: of what stands behind the tower.
        changes: further fields of `VlaConfig`, e.g. head, fusion, or open_clip with sizes of one's own.

    Returns:
        The folder.

    Raises:
        UserError: an unknown model, or a file of another one.
    """
    from vla_sim.policies.models.loading import save_policy
    from vla_sim.policies.models.open_clip import context_of, open_clip_sizes

    try:
        fields = {"open_clip": {"model": model}, "head": {"kind": "lstm", "codec": "laplace"}, **changes}
        config = VlaConfig(backbone="open_clip", action=action, description=f"{model} of open_clip, frozen", **fields)
        places = context_of(open_clip_sizes(config.open_clip))[0]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            whole = with_pretrained(dataclasses.replace(config, context_length=places), {"open_clip": checkpoint})
    except ValueError as error:
        raise UserError(str(error)) from error
    save_policy(whole, {}, folder)
    return folder
