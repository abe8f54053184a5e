"""Any model of `open_clip_torch` as a backbone, with any of its checkpoint files. Loads open_clip, which takes seconds.

Nothing is fetched: sizes come from the package's own list or the config, weights from a file. Files are read as
`vla_sim.policies.checkpoints.reading` reads them, so nothing in them is executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from vla_sim.core.errors import UserError, suggest
from vla_sim.policies.models.backbones import Backbone, Features, Widths
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.specs import OpenClipSpec, check_sizes
from vla_sim.policies.models.stem import shrunken
from vla_sim.policies.models.text_batch import TextBatch
from vla_sim.policies.shapes import shapes_only
from vla_sim.policies.torchvision_shim import make_torchvision_importable

# Parts of open_clip's configs that need another library's downloads, or that read texts in other ways.
UNSUPPORTED = ("hf_model_name", "hf_tokenizer_name", "multimodal_cfg")
# Vocabulary of the tokenizer that comes with open_clip.
OWN_VOCABULARY = 49408


class OpenClipBackbone(Backbone):
    """An open_clip model: patches behind the last layer of its image tower, its embeddings of image and text."""

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        sizes = open_clip_sizes(config.open_clip)
        self.open_clip = _built(sizes)
        visual = self.open_clip.visual
        self.image_px = _square(visual.image_size)
        self._places = context_of(sizes)[0]
        self._mean, self._std = config.open_clip.mean, config.open_clip.std
        # Shapes from a forward pass without numbers: every kind of tower calls its widths otherwise.
        with shapes_only():
            shape = _seen(_built(sizes).visual.eval(), torch.zeros(1, 3, self.image_px, self.image_px))
        embedding = int(sizes["embed_dim"])
        self.widths = (Widths("open_clip", shape[0].shape[2], embedding, shape[0].shape[1], embedding),)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """The embedding; padding lies behind the end token, which no earlier one sees."""
        ids = tokens["open_clip.ids"]
        whole = functional.pad(ids, (0, self._places - ids.shape[1]))  # open_clip reads no shorter ones
        return {"open_clip.text": self.open_clip.encode_text(whole)}

    def forward(self, images: torch.Tensor, language: TextBatch) -> tuple[Features, ...]:
        """See `Backbone.forward`."""
        weight = next(self.parameters())
        planes = shrunken(images, self.image_px).float() / 255
        mean, std = (planes.new_tensor(values)[:, None, None] for values in (self._mean, self._std))
        patches, image = _seen(self.open_clip.visual, ((planes - mean) / std).to(weight.dtype))
        text = language["open_clip.text"]
        nothing = text.new_zeros(len(text), 0, 1)
        return (Features(patches, image, nothing, nothing[..., 0].bool(), text),)


def open_clip_sizes(spec: OpenClipSpec) -> Mapping[str, Any]:
    """open_clip's config of a model.

    Raises:
        ValueError: it has no such model (with the nearest name), or one that needs a hub.
    """
    make_torchvision_importable()
    import open_clip

    sizes = spec.sizes or open_clip.get_model_config(spec.model)
    if sizes is None:
        raise ValueError(f"unknown open_clip.model {spec.model!r}; {suggest(spec.model, open_clip.list_models())}")
    text = sizes.get("text_cfg")
    if not isinstance(text, Mapping) or not isinstance(sizes.get("vision_cfg"), Mapping) or "embed_dim" not in sizes:
        raise ValueError("open_clip.sizes must have embed_dim, vision_cfg and text_cfg")
    found = [key for key in UNSUPPORTED if key in sizes or key in text]
    if found:
        raise ValueError(f"open_clip model {spec.model!r} cannot be used: {found[0]} needs files of a hub")
    check_sizes("open_clip.sizes", sizes)
    return sizes


def context_of(sizes: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of a text, and ids of the vocabulary."""
    text = sizes["text_cfg"]
    return int(text.get("context_length", 77)), int(text.get("vocab_size", OWN_VOCABULARY))


def _built(sizes: Mapping[str, Any]) -> Any:
    from open_clip.model import CLIP, CustomTextCLIP

    values = {key: value for key, value in sizes.items() if key not in ("custom_text", "model_cfg")}
    vision = {key: value for key, value in values["vision_cfg"].items() if key != "timm_model_pretrained"}
    kind = CustomTextCLIP if sizes.get("custom_text") else CLIP
    return kind(**{**values, "vision_cfg": vision, "text_cfg": dict(values["text_cfg"])})


def _seen(visual: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (n, P, V) behind the last layer, in rows from the top left, and the embedding (n, D)."""
    found = visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True, output_fmt="NCHW")
    return found["image_intermediates"][-1].flatten(2).transpose(1, 2), found["image_features"]


def _square(image_size: Any) -> int:
    sides = {int(side) for side in image_size} if isinstance(image_size, (list, tuple)) else {int(image_size)}
    if len(sides) != 1:
        raise ValueError(f"open_clip model must read square images, got {image_size}")
    return sides.pop()


def read_open_clip_file(path: Path, model: Any) -> None:
    """Fill an open_clip model from one of its checkpoint files (.safetensors, .bin, .pt, ...).

    Raises:
        UserError: it cannot be read safely, or is of another model.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    state = convert_state_dict(model, dict(_state(path)))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        if name in state and getattr(model, name, None) is not None:
            state[name] = state[name].reshape(getattr(model, name).shape)
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    _check_fit(path, state, model.state_dict())
    model.load_state_dict(state)


def _state(path: Path) -> Mapping[str, torch.Tensor]:
    if not path.is_file():
        raise UserError(f"open_clip checkpoint is missing: {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read (truncated?): {error}") from error
    from vla_sim.policies.checkpoints.reading import read_checkpoint

    return read_checkpoint(path).state


def _check_fit(path: Path, given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    for what, names in (("misses", wanted.keys() - given.keys()), ("holds unknown", given.keys() - wanted.keys())):
        if names:
            raise UserError(f"{path} is of another open_clip model: it {what} {', '.join(sorted(names)[:3])}")
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{path} is of another open_clip model: {name} has shape {tuple(tensor.shape)}, the model "
                f"{tuple(wanted[name].shape)}"
            )
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite")


class OpenClipTokenizer:
    """The tokenizer that comes with open_clip.

    Args:
        context_length: tokens of a text; longer ones are cut before their end token.
    """

    vocab_size = OWN_VOCABULARY

    def __init__(self, context_length: int) -> None:
        make_torchvision_importable()
        from open_clip.tokenizer import SimpleTokenizer

        self._tokenizer = SimpleTokenizer(context_length=context_length)

    def read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """See `vla_sim.policies.models.texts.Tokenizer.read`."""
        ids: torch.Tensor = self._tokenizer(list(texts))
        return ids, ids != 0
