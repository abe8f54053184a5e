"""A network to train that begins as an existing policy. Used by `clone` and `dagger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError, suggest
from vla_sim.policies.folders import TOKENIZER, PolicyError, PolicyFolder
from vla_sim.policies.registry import find_folder, folder_hash

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.policies.clip import DrivingModel
    from vla_sim.policies.tokenizer import InstructionTokenizer

VOCABULARY = 800
# Policies that one training makes, and the heads that each drives with.
DRIVERS = {"clip_lstm": ("lstm",), "clip_mlp": ("mlp",), "ensemble": ("lstm", "mlp")}


@dataclass(frozen=True)
class Beginning:
    """Where a training begins.

    Attributes:
        model: both heads on a backbone.
        tokenizer: the model's.
        action_names, action_scale: components of an action, and the m/s or rad/s that become 1.
        driver: which of the policies that the training writes continues the given one.
        policy_hash: of the given policy; "" for random weights.
    """

    model: DrivingModel
    tokenizer: InstructionTokenizer
    action_names: tuple[str, ...]
    action_scale: float
    driver: str
    policy_hash: str = ""


def begin_with(policy: str, *, seed: int = 0) -> Beginning:
    """The network of a policy, as it is; a head that the policy lacks begins at random.

    Args:
        policy: name or folder of a policy of the type "clip", or of an ensemble of two heads on one backbone.
        seed: of what begins at random.

    Raises:
        UserError: no such policy, or one of another type.
    """
    folder = PolicyFolder.read(find_folder(policy))
    heads = _heads(folder)
    backbone = next(iter(heads.values())).sibling(next(iter(heads.values())).get("backbone", str))
    return _filled(folder, heads, backbone, seed)


def begin_afresh(robot: Embodiment, *, seed: int = 0, **sizes: Any) -> Beginning:
    """Random weights, and a tokenizer that knows the training phrasings of all scenarios.

    Args:
        robot: whose actions it gives.
        seed: of the weights.
        sizes: fields of `ClipConfig`.
    """
    from vla_sim.policies.tokenizer import InstructionTokenizer
    from vla_sim.scenarios import load_scenario, scenario_names
    from vla_sim.training.behaviour_cloning import fresh_model

    texts = sorted({text for name in scenario_names() for text in load_scenario(name).instructions("train")})
    tokenizer = InstructionTokenizer.trained(texts, vocab_size=VOCABULARY)
    model = fresh_model(tokenizer, seed=seed, actions=len(robot.action_names), **sizes)
    return Beginning(model, tokenizer, robot.action_names, robot.max_mps, "clip_lstm")


def check_driver(name: str) -> str:
    """The name of a policy that a training can make.

    Raises:
        UserError: it is none.
    """
    if name not in DRIVERS:
        raise UserError(f"a training makes {', '.join(DRIVERS)}, not {name!r}; {suggest(name, DRIVERS)}")
    return name


def _heads(folder: PolicyFolder) -> dict[str, PolicyFolder]:
    """The folders of the policy's heads by kind, the one that it drives with first."""
    if folder.kind == "clip":
        found = {folder.get("head", str): folder}
        for name in ("clip_lstm", "clip_mlp"):
            beside = folder.path.parent / name
            other = PolicyFolder.read(beside) if (beside / "config.json").is_file() else folder
            if other.config.get("backbone_sha256") == folder.config.get("backbone_sha256"):
                found.setdefault(str(other.config.get("head")), other)
        return found
    members = [folder.sibling(name) for name in folder.needs()] if folder.kind == "ensemble" else []
    heads = {str(member.config.get("head")): member for member in members if member.kind == "clip"}
    same = {member.config.get("backbone_sha256") for member in heads.values()}
    if len(heads) != 2 or len(members) != 2 or len(same) != 1:
        raise folder.error(
            f"{folder.name} cannot be trained on: it must be of type clip, or an ensemble of an LSTM and an MLP head "
            "on one backbone"
        )
    return heads


def _filled(folder: PolicyFolder, heads: dict[str, PolicyFolder], backbone: PolicyFolder, seed: int) -> Beginning:
    import dataclasses

    from vla_sim.policies.clip import ClipConfig
    from vla_sim.policies.tokenizer import InstructionTokenizer
    from vla_sim.training.behaviour_cloning import fresh_model

    first = next(iter(heads.values()))
    action = first.get("action", dict)
    names = tuple(map(str, action.get("names", ())))
    tokenizer = InstructionTokenizer.load(backbone.path / TOKENIZER)
    try:
        sizes = dataclasses.asdict(ClipConfig.from_table(backbone.get("model", dict)))
    except (ValueError, TypeError) as error:
        raise backbone.error(str(error)) from error
    own = {key: value for key, value in sizes.items() if key not in ("vocab_size", "context_length")}
    model = fresh_model(tokenizer, seed=seed, actions=len(names), hidden=first.get("hidden", int), **own)
    backbone.load_into(model.backbone)
    for kind, head in heads.items():
        if head.get("hidden", int) != model.hidden:
            raise PolicyError(f"{head.path}: its head is {head.get('hidden', int)} wide, that of {first.name} differs")
        head.load_into(getattr(model, kind))
    driver = "ensemble" if folder.kind == "ensemble" else f"clip_{first.get('head', str)}"
    return Beginning(model, tokenizer, names, float(action["scale"]), check_driver(driver), folder_hash(folder))
