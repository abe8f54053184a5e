"""From what was trained to policy folders: weights, configs, tokenizers, model cards."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import whole_folder
from vla_sim.policies.folders import TOKENIZER, WEIGHTS, PolicyFolder
from vla_sim.policies.models.loading import save_backbone, save_policy, write_config
from vla_sim.policies.registry import find_folder
from vla_sim.training.cards import write_card

if TYPE_CHECKING:
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.training.members import Members, Part
    from vla_sim.training.warm_start import Beginning


def export_policies(
    members: Members, beginning: Beginning, root: Path, facts: Mapping[str, Any], *, name: str = ""
) -> None:
    """Write the folders of all members, of their backbones where they need them, and of their ensemble.

    Backbones that learned get folders of their own; frozen ones are copied, unless they come with the package.

    Args:
        members: their weights are written as they are.
        beginning: what the training began with.
        root: the folder that they go into.
        facts: of the training, kept in configs and cards.
        name: of the only member's folder; "" for its own.
    """
    hashes = [_write_part(members, number, beginning, root, facts) for number in range(len(members.facts))]
    for number, (own, model) in enumerate(members.by_name().items()):
        used = {members.facts[part].name: part for part in members.uses[number]}
        shared = {key: part for key, part in used.items() if not members.facts[part].inside}
        changes: dict[str, Any] = {"training": dict(facts)}
        if shared:
            changes["backbone_folders"] = {key: members.facts[part].folder for key, part in shared.items()}
            changes["backbone_sha256"] = {key: hashes[part] for key, part in shared.items()}
        part = members.facts[next(iter(used.values()))]
        _write_member(model, changes, part, root / (name or own), beginning.control_s)
    if beginning.ensemble is not None:
        folder = root / beginning.ensemble.name
        write_config(folder, beginning.ensemble.config)
        if beginning.ensemble.weights is not None:
            shutil.copyfile(beginning.ensemble.weights, folder / WEIGHTS)
        write_card(folder)


def _write_part(members: Members, number: int, beginning: Beginning, root: Path, facts: Mapping[str, Any]) -> str:
    """A backbone's folder, where it needs one; its hash."""
    part, backbone = members.facts[number], members.parts[number]
    if part.inside:
        return ""
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        return bring_backbone(part, root)
    owner = next(model for model, used in zip(members.by_name().values(), members.uses, strict=True) if number in used)
    folder = root / part.folder
    folder.mkdir(parents=True, exist_ok=True)
    if part.tokenizers:
        for name, path in part.tokenizers.items():
            shutil.copyfile(path, folder / name)
    elif beginning.tokenizer is not None:
        beginning.tokenizer.save(folder / TOKENIZER)
    users = ", ".join(name for name, used in zip(members.names, members.uses, strict=True) if number in used)
    description = f"small CLIP with a language-modulated readout, for {users}"
    found = save_backbone(backbone, owner.config, folder, description=description, training=facts)  # type: ignore[arg-type]
    write_card(folder)
    return found.own_hash()


def _write_member(
    model: VlaModel, changes: Mapping[str, Any], part: Part, folder: Path, control_s: float | None
) -> None:
    config = model.config
    model.config = dataclasses.replace(config, **changes)
    try:
        save_policy(model, part.tokenizers if part.inside else {}, folder, control_s=control_s)
    finally:
        model.config = config
    write_card(folder)


def bring_backbone(part: Part, root: Path) -> str:
    """Put a frozen backbone beside the policies, unless it is the one that comes with the package; its hash."""
    assert part.source is not None
    used = PolicyFolder.read(part.source)
    try:
        shipped = PolicyFolder.read(find_folder(part.folder)).own_hash()
    except UserError:
        shipped = ""
    if used.own_hash() != shipped and not (root / part.folder).exists():
        with whole_folder(root / part.folder) as aside:
            shutil.copytree(used.path, aside, dirs_exist_ok=True)
    return used.own_hash()
