"""From policy folders to models and back, for every policy type of the family. Loads torch.

Type "vla" holds a model, or what stands behind backbones in other folders; type "vla_backbone" one backbone. Nothing
is fetched, nothing is executed, and sizes are held against the weights' file before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vla_sim.policies.folders import CLIP_TOKENIZER, CONFIG, FORMAT, TOKENIZER, WEIGHTS, PolicyFolder
from vla_sim.policies.models import legacy
from vla_sim.policies.models.backbones import Backbone
from vla_sim.policies.models.building import build_backbone
from vla_sim.policies.models.config import HUB_KEYS, MODEL_TYPE, VlaConfig
from vla_sim.policies.models.encoder import VlaEncoder
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.texts import TextReader, Tokenizer, load_tokenizer
from vla_sim.policies.shapes import shapes_only
from vla_sim.policies.weights import write_weights

BACKBONE_TYPE = "vla_backbone"
FIELDS = tuple(field.name for field in dataclasses.fields(VlaConfig))
# What of a config is about its single backbones.
BACKBONE_FIELDS = ("backbone", "kosmos2", "clip", "conv_clip", "open_clip", "stem_channels", "prompt_ids")
BACKBONE_KEYS = (*BACKBONE_FIELDS, "context_length", "training")

M = TypeVar("M", bound=nn.Module)


def read_config(folder: PolicyFolder) -> VlaConfig:
    """The config of a policy folder of the family.

    Raises:
        PolicyError: a value that makes no sense; the message names file and key.
    """
    if folder.kind == legacy.TYPE:
        return legacy.policy_config(folder)
    folder.know([*FIELDS, *HUB_KEYS])
    if folder.config.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        raise folder.error(f"model_type must be {MODEL_TYPE!r}, got {folder.config.get('model_type')!r:.80}")
    return _config(folder, FIELDS)


def backbone_config(folder: PolicyFolder) -> VlaConfig:
    """The config of a backbone's folder, with one backbone.

    Raises:
        PolicyError: it is none, or a value that makes no sense.
    """
    if folder.kind == legacy.BACKBONE_TYPE:
        return legacy.backbone_config(folder)
    if folder.kind != BACKBONE_TYPE:
        raise folder.error(f"{folder.name} must be of type {BACKBONE_TYPE}, got {folder.kind!r}")
    folder.know((*BACKBONE_KEYS, "model_type"))
    return _config(folder, BACKBONE_KEYS)


def _config(folder: PolicyFolder, keys: tuple[str, ...]) -> VlaConfig:
    given = {key: folder.config[key] for key in keys if folder.config.get(key) is not None}
    try:
        return VlaConfig(**given)
    except (ValueError, TypeError) as error:
        raise folder.error(str(error)) from error


def load_model(folder: PolicyFolder) -> VlaModel:
    """The model of a policy folder with its weights, not yet ready to drive.

    Raises:
        PolicyError: config or weights cannot be used, or a backbone is not the one that the head was trained on.
    """
    config = read_config(folder)
    named = legacy.in_file if folder.kind == legacy.TYPE else str
    if config.backbone_folders is None:
        model = filled(folder, config, lambda: VlaModel(config), lambda whole: whole, named)
    else:
        owners = {part: _backbone_of(folder, config, part) for part in config.parts}
        inner = (lambda m: m.head) if folder.kind == legacy.TYPE else (lambda m: m.behind_backbone())
        model = filled(folder, config, lambda: VlaModel(config), inner, named)
        model.share([load_backbone(owners[part], config.dtype) for part in config.parts])
    return model


def load_backbone(folder: PolicyFolder, dtype: str = "float32") -> Backbone:
    """The single backbone of a folder with its weights.

    Raises:
        PolicyError: config or weights cannot be used.
    """
    config = dataclasses.replace(backbone_config(folder), dtype=dtype)
    if config.backbone == "both":
        raise folder.error("a backbone's folder holds one backbone, got 'both'")
    return filled(folder, config, lambda: build_backbone(config), lambda whole: whole)


def filled(
    folder: PolicyFolder,
    config: VlaConfig,
    build: Callable[[], M],
    inner: Callable[[M], nn.Module],
    named: Callable[[str], str] = str,
) -> M:
    """A network with a folder's weights.

    Args:
        folder: has the weights.
        config: of the network.
        build: makes it.
        inner: the part of it that the folder fills.
        named: what a weight of that part is called in the file.
    """
    dtype: torch.dtype = getattr(torch, config.dtype)
    with shapes_only():
        wanted = _built(folder, lambda: inner(build())).to(dtype=dtype).state_dict()
    folder.check_weights({named(name): (tuple(tensor.shape), tensor.dtype) for name, tensor in wanted.items()})
    with _without_first_weights(config):
        network = _built(folder, build).to(dtype=dtype)
    folder.load_into(inner(network), named)
    return network


def _built(folder: PolicyFolder, build: Callable[[], M]) -> M:
    try:
        return build()
    except Exception as error:  # a network of a wrong config fails in as many ways as there are layers
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise folder.error(f"no network can be built: {reason}") from error


def _without_first_weights(config: VlaConfig) -> AbstractContextManager[Any]:
    """Kosmos-2 and CLIP take long to draw weights that are then replaced."""
    if config.kosmos2 is None and config.clip is None:
        return nullcontext()
    from vla_sim.policies.models.hub import init

    return init.no_init_weights()  # type: ignore[no-any-return]


def backbone_folders(folder: PolicyFolder, config: VlaConfig) -> dict[str, PolicyFolder]:
    """The folders of a policy's backbones by their names; none where it holds all weights itself."""
    if config.backbone_folders is None:
        return {}
    return {part: _backbone_of(folder, config, part) for part in config.parts}


def _backbone_of(folder: PolicyFolder, config: VlaConfig, name: str) -> PolicyFolder:
    """The folder of a shared backbone, refused unless it is the very one that the head was trained on."""
    found = folder.sibling(config.backbone_folders[name])
    wanted, is_ = config.backbone_sha256[name], found.own_hash()
    if wanted != is_:
        raise folder.error(
            f"this head was trained on another {found.name}: backbone_sha256 is {wanted[:12]}..., "
            f"{found.path} has {is_[:12]}..."
        )
    return found


def load_encoder(folder: PolicyFolder) -> VlaEncoder:
    """The encoder in a backbone's folder, ready to see.

    Raises:
        PolicyError: config, weights or tokenizer cannot be used.
    """
    backbone = load_backbone(folder)
    reader = text_reader(folder, backbone_config(folder))
    backbone.ready()
    return VlaEncoder(backbone, reader, folder.own_hash())


def text_reader(folder: PolicyFolder, config: VlaConfig) -> TextReader:
    """The tokenizers of a folder.

    Raises:
        PolicyError: one is missing, damaged or of another model.
    """
    tokenizers: dict[str, Tokenizer] = {}
    for name, vocabulary in config.vocabulary.items():
        own = name == "clip" and bool(config.tokenizer_clip_sha256)
        path = folder.path / (CLIP_TOKENIZER if own else TOKENIZER)
        if own and (not path.is_file() or _sha256(path) != config.tokenizer_clip_sha256):
            raise folder.error(f"{CLIP_TOKENIZER} is not the one that tokenizer_clip_sha256 names")
        tokenizers[name], vocabulary = _tokenizer(path, name, config, vocabulary)
        has = tokenizers[name].vocab_size
        # The small CLIP reads at the tokenizer's highest id; pretrained models keep ids to spare.
        if has > vocabulary or (name == "conv_clip" and has != vocabulary):
            raise folder.error(f"{path.name} has {has} ids, {name}'s vocab_size is {vocabulary}")
    return TextReader(tokenizers)


def _tokenizer(path: Path, name: str, config: VlaConfig, vocabulary: int) -> tuple[Tokenizer, int]:
    """The tokenizer of a backbone, and how many ids the backbone knows."""
    length, pad_id = config.context_length, 0
    if name == "open_clip":
        from vla_sim.policies.models.open_clip import OpenClipTokenizer, context_of, open_clip_sizes

        length, vocabulary = context_of(open_clip_sizes(config.open_clip))
        if not path.is_file():
            return OpenClipTokenizer(length), vocabulary
    elif name in ("kosmos2", "clip"):
        pad_id = getattr(config, name).text_config.pad_token_id or 0
    made = load_tokenizer(path, context_length=length, pad_id=pad_id, special_tokens=name != "kosmos2")
    return made, vocabulary


def save_policy(
    model: VlaModel, tokenizers: Mapping[str, Path], folder: Path, *, control_s: float | None = None
) -> None:
    """Write a policy folder that `load_policy` reads.

    Args:
        model: its config goes along; what its `backbone_folders` name is not written.
        tokenizers: files by name: "tokenizer.json", and "tokenizer_clip.json" where CLIP has one of its own.
        folder: made where it is missing.
        control_s: seconds from one action to the next that it was made for; None: any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in tokenizers.items():
        if path.resolve() != (folder / name).resolve():
            (folder / name).write_bytes(path.read_bytes())
    own = folder / CLIP_TOKENIZER
    dtype = str(model.dtype).removeprefix("torch.")
    config = dataclasses.replace(model.config, tokenizer_clip_sha256=_sha256(own) if own.is_file() else "", dtype=dtype)
    kept = model if config.backbone_folders is None else model.behind_backbone()
    write_weights(folder / WEIGHTS, kept.state_dict())
    write_config(folder, {**config.to_json(), **({} if control_s is None else {"control_s": control_s})})


def save_backbone(
    backbone: Backbone, config: VlaConfig, folder: Path, *, description: str, training: Mapping[str, Any]
) -> PolicyFolder:
    """Write a folder of type "vla_backbone", its config last; the tokenizer is the caller's.

    Args:
        backbone: a single one.
        config: of a model with this backbone.
        folder: made where it is missing.
        description: one line.
        training: facts, for people.
    """
    whole = config.to_json()
    fields = {key: whole[key] for key in (*BACKBONE_FIELDS, "context_length") if key in whole}
    write_weights(folder / WEIGHTS, backbone.state_dict())
    head = {"format": FORMAT, "type": BACKBONE_TYPE, "description": description}
    write_config(folder, {**head, **fields, "training": dict(training)})
    return PolicyFolder.read(folder)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Put a folder's `config.json` in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
