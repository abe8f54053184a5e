"""From a checkpoint and its config to a network that holds its weights, and a report. Loads torch, transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vla_sim.core.errors import UserError
from vla_sim.policies.checkpoints.files import file_of, source_folder
from vla_sim.policies.checkpoints.hyper_parameters import HyperParameters
from vla_sim.policies.checkpoints.layouts import Layout, as_in_file, canonical, decides_nothing, recognise
from vla_sim.policies.checkpoints.models import HINTS, NETWORKS, Network, Plan
from vla_sim.policies.checkpoints.parts import Shapes
from vla_sim.policies.checkpoints.reading import Contents, read_checkpoint
from vla_sim.policies.checkpoints.report import LoadReport
from vla_sim.policies.checkpoints.spec import CheckpointSpec, OutputSpec
from vla_sim.policies.folders import PolicyError, PolicyFolder
from vla_sim.policies.models.hub import CLIPConfig, CLIPModel, Kosmos2Config, Kosmos2Model, init
from vla_sim.policies.models.presets import load_pretrained
from vla_sim.policies.shapes import shapes_only

KINDS: dict[str, tuple[Any, Any]] = {"kosmos2": (Kosmos2Config, Kosmos2Model), "clip": (CLIPConfig, CLIPModel)}
# First parts of a network's weights -> the backbone that they are of.
BACKBONE_PARTS = {"kosmos2": "kosmos2", "clip": "clip", "clip_vision": "clip", "clip_text": "clip"}
LAZY = ("lstm_projection", "kosmos2_projection", "image_projection")
EMBEDDINGS, SCORES = "kosmos2.text_model.model.embed_tokens.weight", "kosmos2.text_model.lm_head.weight"


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, ready to drive."""

    network: Network
    layout: Layout
    spec: CheckpointSpec
    configs: Mapping[str, Any]
    report: LoadReport


def load_checkpoint(folder: PolicyFolder) -> Loaded:
    """Read, recognise, rebuild, fill and check.

    Raises:
        PolicyError: the config or the file cannot be used, or a weight would be random.
    """
    spec = CheckpointSpec.of(folder)
    contents = read_checkpoint(file_of(folder))
    given = canonical_state(contents)
    layout = recognise(given, contents.path.name, spec.layout)
    try:
        spec.check_for(layout)
    except ValueError as error:
        raise folder.error(str(error)) from error
    configs = {name: _config(folder, name, spec) for name in layout.backbones}
    kept = {name: tensor for name, tensor in given.items() if not name.startswith(spec.ignore or ("\0",))}
    network = _built(folder, layout, Plan(_shapes(kept, contents), spec, configs, HyperParameters(contents.facts)))
    report = _filled(folder, network, layout, spec, contents, given, configs)
    return Loaded(network.eval(), layout, spec, configs, report)


def canonical_state(contents: Contents) -> dict[str, torch.Tensor]:
    """The weights by the names that the networks have.

    Raises:
        PolicyError: two weights of the file have the same place.
    """
    state: dict[str, torch.Tensor] = {}
    for name, tensor in contents.state.items():
        place = canonical(name)
        if place in state:
            raise PolicyError(f"{contents.path.name} holds {place} twice, under different names")
        state[place] = tensor
    return state


def _shapes(given: Mapping[str, torch.Tensor], contents: Contents) -> Shapes:
    sizes = {name: tuple(tensor.shape) for name, tensor in given.items()}
    parts = _parts(contents)
    return Shapes(sizes, contents.path.name, HINTS, lambda name: as_in_file(name, parts))


def _parts(contents: Contents) -> dict[str, str]:
    """Canonical first parts of names -> what the file calls them, wrappers included."""
    parts = {}
    for short, name in contents.names.items():
        first = short.partition(".")[0]
        parts[canonical(first)] = name.removesuffix(short) + first
    return parts


def _config(folder: PolicyFolder, name: str, spec: CheckpointSpec) -> Any:
    """Transformers' config of a backbone: sizes that no shape tells, e.g. how many heads attend."""
    source = (spec.backbones or {})[name]
    local = source_folder(folder, source)
    kind = KINDS[name][0]
    try:
        config = kind.from_pretrained(str(local or source), local_files_only=local is not None or not spec.download)
    except (OSError, ValueError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise folder.error(
            f"backbones.{name} {source!r} cannot be used ({'a folder' if local else 'no folder, not downloaded'}): "
            f"{first}. Name a local folder with {name}'s config.json and tokenizer.json, or a hub id with "
            '"download": true'
        ) from error
    if config.model_type != kind.model_type:
        raise folder.error(f"backbones.{name} {source!r} is a {config.model_type}, not a {kind.model_type}")
    return config


def _built(folder: PolicyFolder, layout: Layout, plan: Plan) -> Network:
    try:
        with init.no_init_weights():
            network = NETWORKS[layout.name](plan)  # type: ignore[call-arg]
        _check_facts(network, plan)
        _check_action(network, plan.spec.action)
        return network
    except (ValueError, TypeError) as error:
        raise folder.error(f"{plan.shapes.file} (layout {layout.name}): {error}") from error


def _check_facts(network: Network, plan: Plan) -> None:
    """What the file says beside its weights must be what its weights and the config make."""
    outputs = "classes" if plan.spec.action.classes else "actions"
    plan.facts.agrees(outputs, network.width, "its weights and config.json")
    if network.steps > 1 or plan.facts.number("chunk") > 1:
        plan.facts.agrees("chunk", network.steps, "its weights and config.json")
    for lstm in (module for module in network.modules() if isinstance(module, torch.nn.LSTM)):
        plan.facts.agrees("hidden", lstm.hidden_size, "its weights")
    if hasattr(network, "vision_resampler"):
        plan.facts.agrees("attention_heads", plan.spec.attention_heads, "config.json")
    if hasattr(network, "action_token"):  # it stands where the padded text ends
        plan.facts.agrees("context_length", plan.spec.context_length, "config.json")


def _check_action(network: Network, action: OutputSpec) -> None:
    names = "classes" if action.classes else "outputs"
    count = len(getattr(action, names))
    if count != network.width:
        raise ValueError(f"action.{names} has {count} entries, the network gives {network.width}")
    if action.chunk_index >= network.steps:
        raise ValueError(f"action.chunk_index must be below {network.steps}, got {action.chunk_index}")


def _filled(
    folder: PolicyFolder,
    network: Network,
    layout: Layout,
    spec: CheckpointSpec,
    contents: Contents,
    given: Mapping[str, torch.Tensor],
    configs: Mapping[str, Any],
) -> LoadReport:
    """Fill the network; what is missing is refused before anything is taken."""
    parts = _parts(contents)
    theirs = {canonical(name): original for name, original in contents.names.items()}
    wanted = dict(network.state_dict())
    left_out = {name for name in given if name.startswith(spec.ignore or ("\0",))}
    state = {name: tensor for name, tensor in given.items() if name not in left_out and not decides_nothing(name)}
    if SCORES in wanted and SCORES not in state and EMBEDDINGS in state:
        state[SCORES] = state[EMBEDDINGS]  # Kosmos-2 ties the two
    whole = _whole_backbones(wanted, state)
    extra = {name for name in state if name not in wanted}
    unused = extra & _known(configs)
    gone = [name for name in wanted if name not in state and _backbone(name) not in whole]
    report = LoadReport(
        file=contents.path.name,
        layout=layout.name,
        matched=tuple(sorted(theirs.get(name, name) for name in wanted if name in state)),
        missing=tuple(sorted(as_in_file(name, parts) for name in gone)),
        unexpected=tuple(sorted(theirs[name] for name in extra - unused)),
        unused=tuple(sorted(theirs[name] for name in unused)),
        left_out=tuple(sorted(theirs[name] for name in left_out)),
        rebuilt=tuple(part for part in LAZY if f"{part}.weight" in wanted),
        from_source=tuple((name, str((spec.backbones or {})[name])) for name in whole),
        entries=contents.ignored,
        reads_language=layout.reads_language,
    )
    report.check()
    for name in whole:
        state.update(_from_source(folder, name, spec, configs[name], wanted))
    _check_tensors(contents, wanted, state)
    network.load_state_dict({name: state[name].to(wanted[name].dtype) for name in wanted})
    return report


def _backbone(name: str) -> str:
    return BACKBONE_PARTS.get(name.partition(".")[0], "")


def _whole_backbones(wanted: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """Backbones of which the file holds nothing at all: then their weights come from elsewhere."""
    needed = {_backbone(name) for name in wanted} - {""}
    there = {_backbone(name) for name in state}
    return sorted(needed - there)


def _known(configs: Mapping[str, Any]) -> set[str]:
    """Names of all weights that whole backbones have, whether a layout reads them or not."""
    names = {SCORES} if "kosmos2" in configs else set()
    for name, config in configs.items():
        with shapes_only(), init.no_init_weights():
            names |= {f"{name}.{key}" for key in KINDS[name][1](config).state_dict()}
    return names


def _from_source(
    folder: PolicyFolder, name: str, spec: CheckpointSpec, config: Any, wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    source = (spec.backbones or {})[name]
    local = source_folder(folder, source)
    try:
        model = load_pretrained(
            KINDS[name][1], str(local or source), config, dtype=torch.float32, download=spec.download
        )
    except UserError as error:
        raise folder.error(f"the file holds no weights of {name}, so they must come from elsewhere: {error}") from error
    found = {f"{name}.{key}": tensor for key, tensor in model.state_dict().items()}
    if name == "clip":
        found |= {canonical(f"clip_{part}.{part}_model.{key}"): t for part, key, t in _towers(model)}
    else:
        found[SCORES] = found[EMBEDDINGS]
    return {key: found[key] for key in wanted if key in found}


def _towers(model: Any) -> list[tuple[str, str, torch.Tensor]]:
    towers = (("vision", model.vision_model), ("text", model.text_model))
    return [(part, key, tensor) for part, tower in towers for key, tensor in tower.state_dict().items()]


def _check_tensors(contents: Contents, wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in wanted.items():
        if name not in state:
            raise PolicyError(f"{contents.path.name}: {name} is nowhere to be found, it would be random")
        found = state[name]
        if found.shape != tensor.shape:
            raise PolicyError(
                f"{contents.path.name}: {name} has shape {tuple(found.shape)}, the backbone's config and the layers "
                f"around it ask for {tuple(tensor.shape)}"
            )
        if not found.is_floating_point():
            raise PolicyError(f"{contents.path.name}: {name} must hold numbers with a fraction, got {found.dtype}")
        if not bool(found.isfinite().all()):
            raise PolicyError(f"{contents.path.name}: {name} holds values that are not finite")
