"""Drives with a `VlaModel`: the policy type "vla". Importing this module loads torch and transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import CLIP_TOKENIZER, TOKENIZER, PolicyFolder
from vla_sim.policies.models.backbones import Features
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.encoder import VlaEncoder
from vla_sim.policies.models.heads import State
from vla_sim.policies.models.hub import StrictDataclassError, init, no_progress
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.texts import TextReader, Tokenizer, load_tokenizer

# Keys of a folder's config that transformers writes and that decide nothing here.
HUB_KEYS = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")


class VlaPolicy(Policy):
    """A model and its tokenizers; a `chunking.ChunkPredictor`, too.

    Args:
        model: on the device where it is to run.
        reader: its tokenizers.
        keys: of its encoders; those of other policies with the same key give the same features. Empty: its own.
    """

    def __init__(self, model: VlaModel, reader: TextReader, keys: Sequence[str] = ()) -> None:
        self.model, self.reader = model.eval(), reader
        config = model.config
        action = config.action_spec
        self.spec = PolicySpec(action.driven_names, tuple(config.image_px), description=config.description or "vla")
        self.horizon, self.remembers = action.horizon, model.head.remembers
        self.encoders = _encoders(model, reader, keys)
        driven = [action.names.index(name) for name in action.driven_names]
        self._driven, self._scale = driven, torch.tensor(action.scale)[driven]
        self.tells_spread = model.head.codec.tells_spread
        self._spread: np.ndarray | None = None
        self._state: State = ()
        self._lanes = 0

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> VlaPolicy:
        """Config: see `VlaConfig`. Nothing is fetched and nothing is executed.

        Raises:
            PolicyError: config, weights or tokenizer cannot be used.
        """
        config = _config(folder)
        try:
            with init.no_init_weights():
                model = VlaModel(config).to(dtype=_dtype(config))  # type: ignore[call-arg]
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error
        if config.backbone_folders is None:
            folder.load_into(model)
            return cls(model, _reader(folder, config), [f"{folder.path}:{w.name}" for w in model.backbone.widths])
        folder.load_into(model.behind_backbone())
        for part, widths in zip(model.backbone.parts, model.backbone.widths, strict=True):
            _shared(folder, config, widths.name).load_into(part)
        first = _shared(folder, config, model.backbone.widths[0].name)
        keys = [config.backbone_sha256[widths.name] for widths in model.backbone.widths]
        return cls(model, _reader(first, config), keys)

    def reset(self, lanes: np.ndarray, seeds: np.ndarray) -> None:
        """Forget the marked lanes."""
        fresh = self.model.head.initial_state(len(lanes))
        if self._lanes != len(lanes):
            self._lanes, self._state = len(lanes), fresh
            return
        marked = torch.from_numpy(np.asarray(lanes, dtype=bool)).to(self.model.device)
        # where and not a product: whatever a lane held before, even a NaN, is gone.
        self._state = tuple(
            torch.where(marked.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(fresh, self._state, strict=True)
        )

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A): the first of each chunk."""
        return self.chunk(observation, infos)[:, 0]

    def chunk(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists of the next k steps, float32 (N, k, A); moves the memory one step on."""
        return self._decided([encoder.features(observation) for encoder in self.encoders])

    def decide(self, features: Sequence[Features]) -> np.ndarray:
        """As `act`, from what this policy's encoders see."""
        return self._decided(features)[:, 0]

    @torch.inference_mode()
    def _decided(self, features: Sequence[Features]) -> np.ndarray:
        if len(features[0].picture) != self._lanes:
            raise ValueError(f"reset was called for {self._lanes} lanes, act for {len(features[0].picture)}")
        head = self.model.head
        outputs, self._state = head.step_outputs(self.model.fused(tuple(features))[0], self._state)
        if self.tells_spread:
            spread = head.codec.spread(outputs)
            self._spread = (spread[:, 0, self._driven].float().cpu() * self._scale).norm(dim=1).numpy()
        return (head.decode(outputs)[..., self._driven].float().cpu() * self._scale).numpy()

    def diagnostics(self) -> dict[str, np.ndarray]:
        """`spread_mps`, (N,): how far from the right action it expects to be, where its head can tell."""
        return {} if self._spread is None else {"spread_mps": self._spread}


def _encoders(model: VlaModel, reader: TextReader, keys: Sequence[str]) -> tuple[VlaEncoder, ...]:
    keys = keys or [f"{id(model)}:{widths.name}" for widths in model.backbone.widths]
    named = zip(model.backbone.parts, model.backbone.widths, keys, strict=True)
    return tuple(VlaEncoder(part, reader.only(widths.name), key) for part, widths, key in named)


def _shared(folder: PolicyFolder, config: VlaConfig, name: str) -> PolicyFolder:
    """The folder of a shared backbone, refused unless it is the very one that the head was trained on."""
    found = folder.sibling(config.backbone_folders[name])
    wanted, is_ = config.backbone_sha256[name], found.own_hash()
    if wanted != is_:
        raise folder.error(
            f"this head was trained on another {found.name}: backbone_sha256 is {wanted[:12]}..., "
            f"{found.path} has {is_[:12]}..."
        )
    return found


def save_policy(model: VlaModel, tokenizers: Mapping[str, Path], folder: Path) -> None:
    """Write a policy folder that `load_policy` reads.

    Args:
        model: its config goes along, with the folder's format and type in it.
        tokenizers: files by name: "tokenizer.json", and "tokenizer_clip.json" where CLIP has one of its own.
        folder: made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in tokenizers.items():
        if path.resolve() != (folder / name).resolve():
            (folder / name).write_bytes(path.read_bytes())
    own = folder / CLIP_TOKENIZER
    model.config.tokenizer_clip_sha256 = _sha256(own) if own.is_file() else ""
    weights = model.behind_backbone().state_dict() if model.config.backbone_folders is not None else None
    with no_progress():
        # One file whatever the size: a policy folder has one.
        model.save_pretrained(folder, max_shard_size="100GB", state_dict=weights)


def _config(folder: PolicyFolder) -> VlaConfig:
    folder.know([*VlaConfig().to_dict(), *HUB_KEYS])
    if folder.config.get("model_type") != VlaConfig.model_type:
        raise folder.error(f"model_type must be {VlaConfig.model_type!r}, got {folder.config.get('model_type')!r}")
    try:
        return VlaConfig.from_dict(dict(folder.config))
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise folder.error(str(error).strip()) from error


def _dtype(config: VlaConfig) -> torch.dtype:
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32


def _reader(folder: PolicyFolder, config: VlaConfig) -> TextReader:
    tokenizers: dict[str, Tokenizer] = {}
    for name in ("kosmos2", "clip"):
        part = getattr(config, name)
        if part is None:
            continue
        own = name == "clip" and bool(config.tokenizer_clip_sha256)
        path = folder.path / (CLIP_TOKENIZER if own else TOKENIZER)
        if own and (not path.is_file() or _sha256(path) != config.tokenizer_clip_sha256):
            raise folder.error(f"{CLIP_TOKENIZER} is not the one that tokenizer_clip_sha256 names")
        text = part.text_config
        tokenizers[name] = load_tokenizer(
            path, context_length=config.context_length, pad_id=text.pad_token_id or 0, special_tokens=name == "clip"
        )
        if tokenizers[name].vocab_size > text.vocab_size:
            raise folder.error(
                f"{path.name} has {tokenizers[name].vocab_size} ids, {name}'s text_config.vocab_size is "
                f"{text.vocab_size}"
            )
    return TextReader(tokenizers)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
