"""Backbones that several policies share: folders of type "vla_backbone". Loads torch and transformers."""

from __future__ import annotations

from vla_sim.policies.folders import TOKENIZER, PolicyFolder
from vla_sim.policies.models.backbones import build_backbone
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.encoder import VlaEncoder
from vla_sim.policies.models.hub import init
from vla_sim.policies.models.texts import TextReader, load_tokenizer

KEYS = ("backbone", "kosmos2", "clip", "stem_channels", "prompt_ids", "context_length", "training")


def load_encoder(folder: PolicyFolder) -> VlaEncoder:
    """The encoder in a backbone's folder, ready to see.

    Raises:
        PolicyError: config, weights or tokenizer cannot be used.
    """
    folder.know(KEYS)
    if folder.kind != "vla_backbone":
        raise folder.error(f"{folder.name} must be of type vla_backbone, got {folder.kind!r}")
    fields = {key: folder.config[key] for key in KEYS if folder.config.get(key) is not None}
    try:
        config = VlaConfig(**fields)
    except (ValueError, TypeError) as error:
        raise folder.error(str(error)) from error
    with init.no_init_weights():
        backbone = build_backbone(config)
    folder.load_into(backbone)
    name = backbone.widths[0].name
    text = getattr(config, name).text_config
    tokenizer = load_tokenizer(
        folder.path / TOKENIZER,
        context_length=config.context_length,
        pad_id=text.pad_token_id or 0,
        special_tokens=name == "clip",
    )
    return VlaEncoder(backbone.eval(), TextReader({name: tokenizer}), folder.own_hash())
