"""Where a training begins: existing policies of the family, or new weights. Used by `clone` and `dagger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError, suggest
from vla_sim.policies.folders import CLIP_TOKENIZER, TOKENIZER, PolicyFolder
from vla_sim.policies.registry import folder_hash, policy_folder
from vla_sim.policies.types import policy_types
from vla_sim.training.new_policies import ENSEMBLE, SMALL, Ensemble, NewPolicies

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.policies.models.backbones import Backbone
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.tokenizer import InstructionTokenizer
    from vla_sim.training.members import Members, Part

VOCABULARY = 800


@dataclass(frozen=True)
class Beginning:
    """Where a training begins.

    Attributes:
        members: what learns.
        driver: which of the policies that the training writes continues the given one.
        action_names: components that the robot is sent.
        action_scale: the m/s or rad/s that become 1, for each.
        still: components that a robot may have besides, see `PolicySpec`.
        control_s: seconds from one action to the next; None: not said yet.
        ensemble: of the members; None where there is none.
        policy_hash: of the given policy; "" for new weights.
        tokenizer: of new weights; None where the members' folders have theirs.
    """

    members: Members
    driver: str
    action_names: tuple[str, ...]
    action_scale: tuple[float, ...]
    still: tuple[str, ...] = ()
    control_s: float | None = None
    ensemble: Ensemble | None = None
    policy_hash: str = ""
    tokenizer: InstructionTokenizer | None = field(default=None, compare=False)

    @property
    def image_px(self) -> int:
        """Side of the images that the members read."""
        return self.members.image_px


def begin_with(policy: str, *, seed: int = 0) -> Beginning:
    """The network of a learned policy as it is; of an ensemble, all its members side by side.

    Args:
        policy: name or folder.
        seed: of what no folder holds, and only training needs.

    Raises:
        UserError: no such policy, or one that has no network of the family.
    """
    import torch

    folder = policy_folder(policy)
    owners = _members_of(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        members = _joined(owners)
    all_specs = [model.config.action_spec for model in members.by_name().values()]
    specs = {(spec.driven_names, spec.still): spec for spec in all_specs}
    if len(specs) != 1:
        raise folder.error(f"members must drive the same components, got {sorted(names for names, _ in specs)}")
    (((driven, still), spec),) = specs.items()
    scale = tuple(float(spec.scale[spec.names.index(name)]) for name in driven)
    weights = folder.path / "model.safetensors"
    ensemble = Ensemble(folder.name, folder.config, weights if weights.is_file() else None)
    return Beginning(
        members,
        *(folder.name, driven, scale, still),
        control_s=next((rate for rate in (f.control_s() for f in (folder, *owners)) if rate is not None), None),
        ensemble=ensemble if folder.kind == ENSEMBLE else None,
        policy_hash=folder_hash(folder),
    )


def for_robot(begun: Beginning, robot: Embodiment) -> Beginning:
    """The same for a robot, whose control rate it has from now on.

    Raises:
        UserError: it gives other actions, or was made for another control rate.
    """
    from vla_sim.policies.base import PolicySpec

    reason = PolicySpec(begun.action_names, (), control_s=begun.control_s, still=begun.still).misfit(robot)
    if reason:
        raise UserError(f"{begun.driver} {reason}")
    return replace(begun, control_s=robot.control_s)


def _members_of(folder: PolicyFolder) -> list[PolicyFolder]:
    """The folders whose networks learn."""
    if folder.kind in ("vla", "clip"):
        return [folder]
    if folder.kind == ENSEMBLE:
        members = [folder.sibling(name) for name in folder.needs()]
        wrong = [member for member in members if member.kind not in ("vla", "clip")]
        if members and not wrong:
            return members
        which = f"; its member {wrong[0].name} is of type {wrong[0].kind!r}" if wrong else ""
        raise folder.error(f"{folder.name} cannot be trained on: all members must be networks of ours{which}")
    trained = [name for name, kind in policy_types().items() if kind.learned and not kind.part]
    hint = f": train its predictor {folder.needs()[0]!r}" if folder.kind == "chunked" and folder.needs() else ""
    raise folder.error(
        f"{folder.name} cannot be trained on: it is of type {folder.kind!r}, not {' or '.join(trained)}{hint}"
    )


def _joined(folders: Sequence[PolicyFolder]) -> Members:
    from vla_sim.policies.models.loading import load_model
    from vla_sim.training.members import Members

    models: dict[str, VlaModel] = {}
    parts: dict[str, tuple[Part, Backbone]] = {}
    uses: list[list[int]] = []
    for folder in folders:
        if folder.name in models:
            raise folder.error(f"two members are called {folder.name!r}")
        models[folder.name] = model = load_model(folder)
        for key, part in _parts_of(folder, model).items():
            parts.setdefault(key, part)
        uses.append([list(parts).index(key) for key in _parts_of(folder, model)])
    return Members(models, list(parts.values()), uses)


def _parts_of(folder: PolicyFolder, model: VlaModel) -> dict[str, tuple[Part, Backbone]]:
    """The single backbones of a policy by what identifies them."""
    from vla_sim.policies.models.loading import backbone_folders, text_reader
    from vla_sim.training.members import Part

    config, shared = model.config, backbone_folders(folder, model.config)
    reader = text_reader(next(iter(shared.values()), folder), config)
    found = {}
    for widths, backbone in zip(model.backbone.widths, model.backbone.parts, strict=True):
        owner = shared.get(widths.name, folder)
        files = {name: owner.path / name for name in (TOKENIZER, CLIP_TOKENIZER) if (owner.path / name).is_file()}
        part = Part(widths.name, owner.name, reader.only(widths.name), files, owner.path, inside=not shared)
        found[f"{owner.path}:{widths.name}"] = (part, backbone)
    return found


def begin_afresh(
    robot: Embodiment,
    *,
    seed: int = 0,
    texts: Sequence[str] | None = None,
    hidden: int = 256,
    made: NewPolicies = SMALL,
    backbone_of: str = "",
    **sizes: Any,
) -> Beginning:
    """New weights: heads on a small convolutional CLIP.

    Args:
        robot: whose actions they give.
        seed: of the weights.
        texts: what the tokenizer is made for; None: the training phrasings of all scenarios.
        hidden: width of the heads.
        made: which heads.
        backbone_of: policy, perhaps of another robot, with whose tokenizer and weights the CLIP begins, as far as they
            have the same sizes; "": all new.
        sizes: fields of `ConvClipSpec`.

    Raises:
        UserError: no such policy, or one without a small convolutional CLIP.
    """
    from vla_sim.policies.tokenizer import InstructionTokenizer
    from vla_sim.scenarios import load_scenario, scenario_names

    given = begin_with(backbone_of, seed=seed).members if backbone_of else None
    if given is not None and [part.name for part in given.facts] != ["conv_clip"]:
        raise UserError(f"{backbone_of} has no small convolutional CLIP to begin with")
    if given is not None:
        tokenizer = InstructionTokenizer.load(given.facts[0].tokenizers[TOKENIZER])
    else:
        if texts is None:
            texts = sorted({text for name in scenario_names() for text in load_scenario(name).instructions("train")})
        tokenizer = InstructionTokenizer.trained(texts, vocab_size=VOCABULARY)
    names = tuple(name for name in robot.action_names if name not in made.still)
    usual = {"vx": robot.max_mps, "vy": robot.max_mps, "wz": robot.max_radps}
    scale = tuple(float(made.action_scale.get(name, usual[name])) for name in names)
    sensors = made.read_of(robot)
    begun = fresh(tokenizer, names, scale, seed=seed, hidden=hidden, made=made, sensors=sensors, **sizes)
    if given is not None:
        for model in begun.members.by_name().values():
            _take_over(model, next(iter(given.by_name().values())))
    return for_robot(begun, robot)


def _take_over(new: VlaModel, old: VlaModel) -> None:
    """All weights of the same name and size but those of the head."""
    shapes = {name: tensor.shape for name, tensor in new.state_dict().items() if not name.startswith("head.")}
    fitting = {name: tensor for name, tensor in old.state_dict().items() if shapes.get(name) == tensor.shape}
    new.load_state_dict(fitting, strict=False)


def begin_as(policy: str, made: NewPolicies, robot: Embodiment, *, seed: int = 0) -> Beginning:
    """A policy under a new name, on a backbone of its own, that learns to read LiDARs as well.

    Args:
        policy: name or folder of one with a single shared backbone.
        made: its new name, that of its backbone, and the sensors.
        robot: has the sensors.
        seed: of the new weights.

    Raises:
        UserError: no such policy, one of another kind, or one that does not fit the robot.
    """
    import torch

    from vla_sim.policies.models.model import VlaModel
    from vla_sim.training.members import Members

    begun = for_robot(begin_with(policy, seed=seed), robot)
    ((name, head),) = made.heads.items()
    models, facts = list(begun.members.by_name().values()), begun.members.facts
    if len(models) != 1 or len(facts) != 1 or facts[0].inside or models[0].config.head_spec.kind != head.kind:
        raise UserError(
            f"{name} begins as a policy with one {head.kind} head on one shared backbone, not as {policy!r}"
        )
    (old,), (part,) = models, facts
    folders = {part.name: made.backbone}
    config = replace(
        old.config, description=head.description, sensors=made.read_of(robot), backbone_folders=folders, training=None
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VlaModel(config)
    model.load_state_dict(old.state_dict(), strict=False)
    members = Members({name: model}, [(replace(part, folder=made.backbone), old.backbone)], [[0]])
    return replace(begun, members=members, driver=name)


def fresh(
    tokenizer: InstructionTokenizer,
    action_names: Sequence[str] = ("vx", "vy"),
    action_scale: Sequence[float] = (0.5, 0.5),
    *,
    seed: int = 0,
    hidden: int = 256,
    made: NewPolicies = SMALL,
    sensors: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Beginning:
    """As `begin_afresh`, for a tokenizer and an action.

    Args:
        tokenizer: gives vocabulary and context length.
        action_names: components of an action.
        action_scale: the m/s or rad/s of 1, for each.
        seed: of the weights.
        hidden: width of the heads.
        made: which heads.
        sensors: what they read beside the image, see `VlaConfig`.
        sizes: other fields of `ConvClipSpec`.
    """
    import torch

    from vla_sim.policies.models.config import VlaConfig
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.models.texts import TextReader
    from vla_sim.training.members import Members, Part

    action: dict[str, Any] = {"names": list(action_names), "scale": list(action_scale)}
    if made.still:
        action["still"] = list(made.still)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        models = {
            name: VlaModel(
                VlaConfig(
                    backbone="conv_clip",
                    description=head.description,
                    conv_clip={"vocab_size": tokenizer.vocab_size, **sizes},
                    context_length=tokenizer.context_length,
                    backbone_folders={"conv_clip": made.backbone},
                    backbone_sha256={"conv_clip": ""},
                    head={"kind": head.kind, "hidden": hidden, "single_cell": head.kind == "lstm"},
                    action=action,
                    sensors=sensors,
                )
            )
            for name, head in made.heads.items()
        }
    part = Part("conv_clip", made.backbone, TextReader.small(tokenizer, ["conv_clip"]), {})
    first = next(iter(models))
    members = Members(models, [(part, models[first].backbone)], [[0]] * len(models))
    names, scale = tuple(action_names), tuple(map(float, action_scale))
    return Beginning(members, first, names, scale, made.still, ensemble=made.ensemble(), tokenizer=tokenizer)


def check_driver(name: str, beginning: Beginning | None = None) -> str:
    """The name of a policy that a training makes.

    Args:
        name: as asked for.
        beginning: what the training begins with; None: new weights.

    Raises:
        UserError: it is none.
    """
    ensemble = beginning.ensemble if beginning else None
    made = SMALL.names if beginning is None else (*beginning.members.names, *([ensemble.name] if ensemble else []))
    if name not in made:
        raise UserError(f"a training makes {', '.join(made)}, not {name!r}; {suggest(name, made)}")
    return name
