"""PPO through Stable-Baselines3: what is learned, from where, and how the result becomes a policy folder.

Used by `vla_sim.ppo`. Importing this module loads Stable-Baselines3 and torch.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import sweep_aside, whole_folder, write_whole
from vla_sim.core.privileged import TRUTH_NAMES
from vla_sim.envs.sb3 import FeatureVecEnv, LeftHandedVecEnv, PrivilegedVecEnv
from vla_sim.policies.clip import MlpHead
from vla_sim.policies.clip_policy import ClipPolicy
from vla_sim.policies.folders import CONFIG, FORMAT, WEIGHTS, PolicyFolder
from vla_sim.policies.registry import find_folder, load_policy
from vla_sim.policies.state_policy import UNITS, StateHead
from vla_sim.training.seeds import LEARNING
from vla_sim.training.weights import write_weights

STATE, FEATURES = "state", "features"
KINDS = (STATE, FEATURES)
CLIP_OBSERVATION = 10.0
# Lanes draw their worlds from generators of their own; runs of different seeds must not share any.
SEEDS_APART = 1000

CHECKPOINT, CHECKPOINTS = "checkpoint_{:09}", "checkpoint_*"
MODEL, STATISTICS, PROGRESS = "model.zip", "statistics.json", "progress.json"
CURVE, PLAN, POLICY = "curve.json", "plan.json", "policy"
# A point of the curve; None where no episode has ended yet.
Point = Mapping[str, float | None]


@dataclass(frozen=True)
class PpoPlan:
    """Everything that decides what is learned, but for how long.

    Attributes:
        kind: "state" learns a small network on ground truth, "features" an MLP head on a frozen encoder.
        scenarios: what is driven, drawn anew for each episode.
        embodiment: who drives.
        policy: kind "features": whose encoder and head it starts from.
        seed: number of the run.
        lanes: worlds side by side.
        rollout: steps of each lane between two updates.
        batch, epochs: of an update.
        learning_rate: of Adam.
        discount: of rewards, each control step.
        deviation: of the actions around the network's, at first; in shares of full speed.
        entropy: weight of the bonus for spread actions.
        critic_first: steps in which only the critic learns; a good head is not to be spoiled by a fresh critic.
        mirror: kind "state": worlds that say right are learned as their mirrored twins.
        hidden: kind "state": widths of the actor's layers; of both kinds: widths of the critic's.
    """

    kind: str
    scenarios: tuple[str, ...]
    embodiment: str = "serbot"
    policy: str = ""
    seed: int = 0
    lanes: int = 16
    rollout: int = 64
    batch: int = 256
    epochs: int = 10
    learning_rate: float = 3e-4
    discount: float = 0.98
    deviation: float = 0.6
    entropy: float = 0.0
    critic_first: int = 0
    mirror: bool = True
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown kind {self.kind!r}; {suggest(self.kind, KINDS)}")
        for name in ("lanes", "rollout", "batch", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "deviation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name.replace('_', '-')} must be positive, got {value}")
        for name in ("seed", "critic_first", "entropy"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name.replace('_', '-')} must not be negative, got {getattr(self, name)}")
        if not 0 < self.discount <= 1:
            raise UserError(f"discount must lie in (0, 1], got {self.discount}")
        if self.lanes * self.rollout < 2:
            raise UserError("lanes * rollout must be at least 2: one step teaches nothing")

    @classmethod
    def usual(cls, kind: str, scenarios: tuple[str, ...], **changes: Any) -> PpoPlan:
        """The usual values of a kind, but for these changes; None changes nothing."""
        changes = {name: value for name, value in changes.items() if value is not None}
        if kind != FEATURES:
            return cls(kind, scenarios, **changes)
        usual: dict[str, Any] = {
            "policy": "clip_mlp",
            "lanes": 8,
            "batch": 128,
            "epochs": 5,
            "learning_rate": 1e-4,
            "deviation": 0.2,
            "critic_first": 4096,
            "hidden": (256,),
        }
        return cls(kind, scenarios, **{**usual, **changes})

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


@dataclass(frozen=True)
class Start:
    """An encoder and the head that learning starts from.

    Attributes:
        folder: of the policy.
        policy: loaded; its encoder stays as it is.
        head: a copy of its head.
    """

    folder: PolicyFolder
    policy: ClipPolicy
    head: MlpHead

    @classmethod
    def of(cls, name: str) -> Start:
        """The policy of that name or folder.

        Raises:
            UserError: unknown, damaged, or one whose head remembers.
        """
        folder = PolicyFolder.read(find_folder(name))
        if folder.kind != "clip" or folder.config.get("head") != "mlp":
            memory = f" with head {folder.config['head']!r}" if "head" in folder.config else ""
            raise UserError(
                f"policy {name!r} is of type {folder.kind!r}{memory}: PPO fine-tunes type 'clip' with head 'mlp', "
                "which has no memory, such as 'clip_mlp'"
            )
        policy = load_policy(name)
        assert isinstance(policy, ClipPolicy)
        names = folder.get("action", dict)["names"]
        head = MlpHead(policy.encoders[0].feature_dim, folder.get("hidden", int), len(names))
        folder.load_into(head)
        return cls(folder, policy, head)

    def encode(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Features float32 (N, F)."""
        return self.policy.encoders[0].features(observation).numpy()


def make_env(plan: PpoPlan, start: Start | None) -> VecEnv:
    """The worlds that a plan learns in.

    Raises:
        UserError: unknown names, or a robot that the policy cannot drive.
    """
    if start is None:
        plain = PrivilegedVecEnv(plan.scenarios, plan.lanes, plan.embodiment, seeds=LEARNING)
        return LeftHandedVecEnv(plain) if plan.mirror else plain
    made = FeatureVecEnv(
        *(start.encode, start.policy.encoders[0].feature_dim, plan.scenarios, plan.lanes, plan.embodiment),
        seeds=LEARNING,
    )
    action, robot = start.folder.get("action", dict), made.embodiment
    fits = tuple(action["names"]) == robot.action_names and action["scale"] == robot.max_mps
    if not fits or "wz" in robot.action_names:
        made.close()
        raise UserError(
            f"policy {plan.policy!r} gives {action['names']} up to {action['scale']}, {plan.embodiment} takes "
            f"{list(robot.action_names)} up to {robot.max_mps} m/s"
        )
    return made


class Reinforcement:
    """One run of PPO in a folder: begins or goes on, trains, saves, exports. Use as a context manager.

    The folder gets `plan.json`, the newest `checkpoint_*` (Stable-Baselines3's own file beside JSON), `curve.json` and
    at the end `policy`. Checkpoints of Stable-Baselines3 are unpickled when a run goes on: only go on with your own.

    Args:
        plan: what to learn.
        out: the folder, locked by the caller.

    Raises:
        UserError: unknown names, or the folder belongs to another plan.
    """

    def __init__(self, plan: PpoPlan, out: Path) -> None:
        self.plan, self.out = plan, out
        self.curve: list[Point] = []
        self.seconds = 0.0
        self._start = Start.of(plan.policy) if plan.kind == FEATURES else None
        self._check_plan()
        sweep_aside(out)
        self.env = VecNormalize(
            VecMonitor(make_env(plan, self._start)),
            norm_obs=plan.kind == STATE,
            clip_obs=CLIP_OBSERVATION,
            gamma=plan.discount,
        )
        found = sorted(out.glob(CHECKPOINTS))
        self.model = self._resumed(found[-1]) if found else self._fresh()
        self.env.seed(SEEDS_APART * plan.seed + self.model.num_timesteps * 7919)

    def __enter__(self) -> Reinforcement:
        return self

    def __exit__(self, *_: object) -> None:
        self.env.close()

    def train(self, steps: int, minutes: float, say: Callable[[str], None] = print, *, save_s: float = 60.0) -> None:
        """Learn until so many steps are done in all, or so many minutes of wall clock have been spent in all.

        Args:
            steps: control steps over all lanes.
            minutes: of training, also that of earlier starts; infinite for no limit.
            say: told of progress, some times a minute.
            save_s: seconds between two checkpoints.
        """
        left = steps - self.model.num_timesteps
        if left > 0 and self.seconds < 60 * minutes:
            try:
                self.model.learn(left, _Watch(self, 60 * minutes, say, save_s), reset_num_timesteps=False)
            except KeyboardInterrupt:
                self.save()
                raise
            # After any other fault the last good checkpoint stays.
            self.save()

    def save(self) -> None:
        """Write a checkpoint and the curve."""
        name = CHECKPOINT.format(self.model.num_timesteps)
        if not (self.out / name).exists():
            with whole_folder(self.out / name) as aside:
                self.model.save(aside / MODEL)
                (aside / STATISTICS).write_text(json.dumps(self._statistics()), "utf-8")
                (aside / PROGRESS).write_text(json.dumps({"seconds": self.seconds, "curve": self.curve}), "utf-8")
        for old in self.out.glob(CHECKPOINTS):
            if old.name != name:
                shutil.rmtree(old)
        write_whole(self.out / CURVE, (json.dumps(self.curve, indent=1) + "\n").encode())

    def export(self) -> Path:
        """Write what was learned as a policy folder; returns it."""
        shutil.rmtree(self.out / POLICY, ignore_errors=True)
        config, head = self._state_policy() if self._start is None else self._clip_policy(self._start)
        with whole_folder(self.out / POLICY) as aside:
            write_policy(aside, {**config, "training": self._facts()}, head)
        if self._start is not None:
            _bring_backbone(self._start.folder, self.out)
        return self.out / POLICY

    def _check_plan(self) -> None:
        path, now = self.out / PLAN, {"format": 1, **self.plan.to_json()}
        if path.exists():
            was = json.loads(path.read_text("utf-8"))
            for key in now:
                if was.get(key) != now[key]:
                    raise UserError(
                        f"{self.out}: was begun with {key} {was.get(key)!r}, now it is {now[key]!r}; repeat the "
                        "command as it was or choose another folder"
                    )
        elif self.out.is_dir() and any(p.name[0] != "." for p in self.out.iterdir()):
            raise UserError(f"{self.out} holds something else: choose an empty folder")
        write_whole(path, (json.dumps(now, indent=1) + "\n").encode())

    def _fresh(self) -> PPO:
        plan, start = self.plan, self._start
        actor = list(plan.hidden) if start is None else [start.head.hidden.out_features]
        model = PPO(
            "MlpPolicy",
            self.env,
            n_steps=plan.rollout,
            batch_size=min(plan.batch, plan.lanes * plan.rollout),
            n_epochs=plan.epochs,
            learning_rate=plan.learning_rate,
            gamma=plan.discount,
            ent_coef=plan.entropy,
            seed=plan.seed,
            device="cpu",
            policy_kwargs={
                "net_arch": {"pi": actor, "vf": list(plan.hidden)},
                "activation_fn": torch.nn.Tanh if start is None else torch.nn.ReLU,
                "log_std_init": math.log(plan.deviation),
            },
            tensorboard_log=_tensorboard_folder(self.out),
        )
        if start is not None:
            hidden, out = actor_layers(model)
            hidden[0].load_state_dict(start.head.hidden.state_dict())
            out.load_state_dict(start.head.out.state_dict())
        return model

    def _resumed(self, checkpoint: Path) -> PPO:
        try:
            statistics = json.loads((checkpoint / STATISTICS).read_text("utf-8"))
            progress = json.loads((checkpoint / PROGRESS).read_text("utf-8"))
            model = PPO.load(checkpoint / MODEL, self.env, device="cpu")
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{checkpoint} cannot be read: {error}; delete it to begin anew") from error
        for name, values in statistics.items():
            moments: RunningMeanStd = getattr(self.env, name)
            moments.mean, moments.var = np.array(values["mean"]), np.array(values["var"])
            moments.count = values["count"]
        self.seconds, self.curve = progress["seconds"], progress["curve"]
        # Else it would draw what it drew before.
        model.set_random_seed(self.plan.seed + model.num_timesteps)
        return model

    def _statistics(self) -> dict[str, Any]:
        names = ["ret_rms", *(["obs_rms"] if self.plan.kind == STATE else [])]
        moments = {name: getattr(self.env, name) for name in names}
        return {
            name: {"mean": m.mean.tolist(), "var": m.var.tolist(), "count": float(m.count)}
            for name, m in moments.items()
        }

    def _state_policy(self) -> tuple[dict[str, Any], torch.nn.Module]:
        embodiment = self.env.unwrapped.embodiment  # type: ignore[attr-defined]
        names = embodiment.action_names
        head = StateHead(len(TRUTH_NAMES), self.plan.hidden, len(names))
        _copy_layers(self.model, [*head.hidden, head.out])
        statistics: Any = self.env.obs_rms
        config = {
            "format": FORMAT,
            "type": "ppo_state",
            "description": "small network on ground truth, learned by PPO",
            "observation": {
                "names": list(TRUTH_NAMES),
                "mean": statistics.mean.tolist(),
                "variance": (statistics.var + self.env.epsilon).tolist(),
                "clip": CLIP_OBSERVATION,
            },
            "left_handed": self.plan.mirror,
            "hidden": list(self.plan.hidden),
            "action": {
                "names": list(names),
                "units": [UNITS[name] for name in names],
                "scale": [embodiment.max_radps if name == "wz" else embodiment.max_mps for name in names],
            },
        }
        return config, head

    def _clip_policy(self, start: Start) -> tuple[dict[str, Any], torch.nn.Module]:
        head = MlpHead(start.head.hidden.in_features, start.head.hidden.out_features, start.head.out.out_features)
        _copy_layers(self.model, [head.hidden, head.out])
        return {**start.folder.config, "description": f"{start.folder.name} with its head fine-tuned by PPO"}, head

    def _facts(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "algorithm": "PPO (Stable-Baselines3)",
            **({"started_from": plan.policy} if plan.kind == FEATURES else {}),
            "scenarios": ", ".join(plan.scenarios),
            "steps": self.model.num_timesteps,
            "minutes": round(self.seconds / 60, 2),
            "seed": plan.seed,
        }


class _Watch(BaseCallback):
    """Looks at the clock, says how far it is, saves, and holds the actor still at first."""

    def __init__(self, run: Reinforcement, most_s: float, say: Callable[[str], None], save_s: float) -> None:
        super().__init__()
        self._run, self._most_s, self._say, self._save_s = run, most_s, say, save_s
        self._before_s = run.seconds
        self._began = self._saved = self._said = time.perf_counter()
        self._began_at = run.model.num_timesteps

    def _on_step(self) -> bool:
        # Between two updates only, so that no rollout is cut.
        return self._run.seconds < self._most_s

    def _on_rollout_start(self) -> None:
        now = time.perf_counter()
        self._run.seconds = self._before_s + now - self._began
        if now - self._saved > self._save_s:
            self._saved = now
            self._run.save()

    def _on_rollout_end(self) -> None:
        run = self._run
        actor_learns = self.num_timesteps > run.plan.critic_first
        hidden, out = actor_layers(run.model)
        for parameter in (*(p for layer in (*hidden, out) for p in layer.parameters()), run.model.policy.log_std):
            parameter.requires_grad_(actor_learns)
        now = time.perf_counter()
        run.seconds = self._before_s + now - self._began
        point = self._point()
        run.curve.append(point)
        if now - self._said > 10:
            self._said = now
            speed = (self.num_timesteps - self._began_at) / (now - self._began)
            self._say(f"{line(point)}, {speed:.0f} steps/s")

    def _point(self) -> Point:
        episodes, successes = self.model.ep_info_buffer or (), self.model.ep_success_buffer or ()
        return {
            "steps": self.num_timesteps,
            "seconds": round(self._run.seconds, 2),
            "return": round(float(np.mean([e["r"] for e in episodes])), 4) if episodes else None,
            "success": round(float(np.mean(successes)), 4) if successes else None,
            "deviation": round(float(self._run.model.policy.log_std.detach().exp().mean()), 4),
        }


def line(point: Point) -> str:
    """A point of the curve for people."""
    done = f"{point['steps']:,} steps, {(point['seconds'] or 0) / 60:.1f} min: "
    if point["return"] is None or point["success"] is None:
        return f"{done}no episode has ended yet"
    success = f"success {point['success']:.0%} of the last 100 episodes (with exploration)"
    return f"{done}return {point['return']:.2f}, {success}"


def actor_layers(model: PPO) -> tuple[list[torch.nn.Linear], torch.nn.Linear]:
    """The linear layers of the actor: hidden ones and the last."""
    layers = [layer for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    last = model.policy.action_net
    assert isinstance(last, torch.nn.Linear)
    return layers, last


def _copy_layers(model: PPO, into: list[Any]) -> None:
    hidden, out = actor_layers(model)
    for mine, theirs in zip(into, [*hidden, out], strict=True):
        mine.load_state_dict(theirs.state_dict())


def write_policy(folder: Path, config: Mapping[str, Any], head: torch.nn.Module) -> None:
    """Fill a policy folder: config, weights, card."""
    write_weights(folder / WEIGHTS, head.state_dict())
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "README.md").write_text(_card(config), "utf-8")


def _card(config: Mapping[str, Any]) -> str:
    reads = (
        "Ground truth (place of the goal and of the nearest bodies, see `vla_sim.core.privileged.TRUTH_NAMES`): "
        "reports say so beside its score, and no robot can give it that."
        if config["type"] == "ppo_state"
        else f"A 224x224 RGB picture and an instruction; the encoder `{config['backbone']}` is frozen."
    )
    facts = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in config["training"].items())
    text = config["description"]
    return (
        f"---\nlicense: apache-2.0\ntags: [robotics, reinforcement-learning, vla-sim]\n---\n\n"
        f"# {text[0].upper()}{text[1:]}\n\n{reads}\n\n## Training\n\n{facts}\n"
    )


def _bring_backbone(folder: PolicyFolder, out: Path) -> None:
    """Put the encoder beside the policy, unless it is the one that comes with the package."""
    name = folder.get("backbone", str)
    used = folder.sibling(name)
    try:
        shipped = PolicyFolder.read(find_folder(name)).own_hash()
    except UserError:
        shipped = ""
    if used.own_hash() != shipped and not (out / name).exists():
        with whole_folder(out / name) as aside:
            shutil.copytree(used.path, aside, dirs_exist_ok=True)


def _tensorboard_folder(out: Path) -> str | None:
    import importlib.util

    return str(out / "tensorboard") if importlib.util.find_spec("tensorboard") else None
