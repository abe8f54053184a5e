"""PPO through Stable-Baselines3: what is learned, from where, and how the result becomes a policy folder.

Used by `vla_sim.ppo`. Importing this module loads Stable-Baselines3 and torch.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from vla_sim.core.errors import UserError
from vla_sim.core.files import sweep_aside, whole_folder, write_whole
from vla_sim.core.privileged import PRIVILEGED_NAMES
from vla_sim.core.run_folder import bind, refuse_strangers
from vla_sim.envs.sb3 import FeatureVecEnv, LeftHandedVecEnv, PrivilegedVecEnv
from vla_sim.policies.folders import CONFIG, FORMAT, WEIGHTS
from vla_sim.policies.state_policy import UNITS, StateHead
from vla_sim.policies.weights import check_finite, read_weights, write_weights
from vla_sim.training.export import export_policies
from vla_sim.training.ppo_heads import HeadStart
from vla_sim.training.ppo_plan import FEATURES, STATE, PpoPlan
from vla_sim.training.seeds import LEARNING

log = logging.getLogger(__name__)

CLIP_OBSERVATION = 10.0
# Of whose returns the mean is told, as in Stable-Baselines3.
EPISODES_KEPT = 100
# Envs draw their worlds from generators of their own; runs of different seeds must not share any.
SEEDS_APART = 1000

CHECKPOINT, CHECKPOINTS = "checkpoint_{:09}", "checkpoint_*"
MODEL, STATISTICS, PROGRESS = "model.safetensors", "statistics.json", "progress.json"
CURVE, PLAN, POLICY = "curve.json", "plan.json", "policy"
# A point of the curve; None where no episode has ended yet.
Point = Mapping[str, float | None]


def make_env(plan: PpoPlan, start: HeadStart | None) -> VecEnv:
    """The worlds that a plan learns in.

    Raises:
        UserError: unknown names, or a robot that the policy cannot drive.
    """
    if start is None:
        plain = PrivilegedVecEnv(plan.scenarios, plan.num_envs, plan.embodiment, seeds=LEARNING)
        return LeftHandedVecEnv(plain) if plan.mirror else plain
    made = FeatureVecEnv(
        *(start.encode, start.feature_dim, plan.scenarios, plan.num_envs, plan.embodiment), seeds=LEARNING
    )
    try:
        return start.driven_by_outputs(made)
    except UserError:
        made.close()
        raise


class Reinforcement:
    """One run of PPO in a folder: begins or goes on, trains, saves, exports. Use as a context manager.

    The folder gets `plan.json`, the newest `checkpoint_*`, `curve.json` and at the end `policy`. Checkpoints are
    safetensors and JSON, so going on in anybody's folder executes nothing.

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
        self._start = HeadStart(plan.policy) if plan.kind == FEATURES else None
        if not (out / PLAN).exists():
            refuse_strangers(out)
        bind(out, plan.to_json(), file=PLAN)
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

    def train(self, steps: int, minutes: float, *, save_s: float = 60.0) -> None:
        """Learn until so many steps are done in all, or so many minutes of wall clock have been spent in all.

        Args:
            steps: control steps over all envs.
            minutes: of training, also that of earlier starts; infinite for no limit.
            say: told of progress, some times a minute.
            save_s: seconds between two checkpoints.
        """
        left = steps - self.model.num_timesteps
        if left > 0 and self.seconds < 60 * minutes:
            try:
                self.model.learn(left, _Watch(self, 60 * minutes, save_s), reset_num_timesteps=False)
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
                write_weights(aside / MODEL, _learned(self.model))
                (aside / STATISTICS).write_text(json.dumps(self._statistics()), "utf-8")
                (aside / PROGRESS).write_text(json.dumps(self._progress()), "utf-8")
        for old in self.out.glob(CHECKPOINTS):
            if old.name != name:
                shutil.rmtree(old)
        write_whole(self.out / CURVE, (json.dumps(self.curve, indent=1) + "\n").encode())

    def export(self) -> Path:
        """Write what was learned as a policy folder; returns it."""
        shutil.rmtree(self.out / POLICY, ignore_errors=True)
        if self._start is None:
            config, head = self._state_policy()
            with whole_folder(self.out / POLICY) as aside:
                write_policy(aside, {**config, "training": self._facts()}, head)
        else:
            begun = self._start.exported(*actor_layers(self.model))
            export_policies(begun.members, begun, self.out, self._facts(), name=POLICY)
        return self.out / POLICY

    def _fresh(self) -> PPO:
        plan, start = self.plan, self._start
        actor = list(plan.hidden) if start is None else [layer.out_features for layer in start.hidden]
        continuous = isinstance(self.env.action_space, spaces.Box)
        model = PPO(
            "MlpPolicy",
            self.env,
            n_steps=plan.rollout,
            batch_size=min(plan.batch, plan.num_envs * plan.rollout),
            n_epochs=plan.epochs,
            learning_rate=plan.learning_rate,
            gamma=plan.discount,
            ent_coef=plan.entropy,
            seed=plan.seed,
            device="cpu",
            policy_kwargs={
                "net_arch": {"pi": actor, "vf": list(plan.hidden)},
                "activation_fn": torch.nn.Tanh if start is None else torch.nn.ReLU,
                **({"log_std_init": math.log(plan.deviation)} if continuous else {}),
            },
            tensorboard_log=_tensorboard_folder(self.out),
        )
        if start is not None:
            hidden, out = actor_layers(model)
            with torch.no_grad():
                for mine, theirs in zip(hidden, start.hidden, strict=True):
                    mine.load_state_dict(theirs.state_dict())
                out.weight.copy_(start.head.out.weight[start.rows])
                out.bias.copy_(start.head.out.bias[start.rows])
        return model

    def _resumed(self, checkpoint: Path) -> PPO:
        model = self._fresh()
        try:
            statistics = json.loads((checkpoint / STATISTICS).read_text("utf-8"))
            progress = json.loads((checkpoint / PROGRESS).read_text("utf-8"))
            _fill(model, checkpoint / MODEL)
            for name in self._moments():
                moments, values = getattr(self.env, name), statistics[name]
                moments.mean, moments.var = np.array(values["mean"]), np.array(values["var"])
                moments.count = float(values["count"])
            self.seconds, self.curve = float(progress["seconds"]), list(progress["curve"])
            model.num_timesteps, model._n_updates = int(progress["steps"]), int(progress["updates"])
            model.ep_info_buffer = deque(progress["episodes"], maxlen=EPISODES_KEPT)
            model.ep_success_buffer = deque(progress["successes"], maxlen=EPISODES_KEPT)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
            raise UserError(f"{checkpoint} cannot be read: {error}; delete it to begin anew") from error
        # Else it would draw what it drew before.
        model.set_random_seed(self.plan.seed + model.num_timesteps)
        return model

    def _progress(self) -> dict[str, Any]:
        model = self.model
        return {
            "seconds": self.seconds,
            "curve": self.curve,
            "steps": model.num_timesteps,
            "updates": model._n_updates,
            "episodes": [{"r": float(e["r"]), "l": int(e["l"])} for e in model.ep_info_buffer or ()],
            "successes": [float(success) for success in model.ep_success_buffer or ()],
        }

    def _moments(self) -> list[str]:
        return ["ret_rms", *(["obs_rms"] if self.plan.kind == STATE else [])]

    def _statistics(self) -> dict[str, Any]:
        moments = {name: getattr(self.env, name) for name in self._moments()}
        return {
            name: {"mean": m.mean.tolist(), "var": m.var.tolist(), "count": float(m.count)}
            for name, m in moments.items()
        }

    def _state_policy(self) -> tuple[dict[str, Any], torch.nn.Module]:
        embodiment = self.env.unwrapped.embodiment  # type: ignore[attr-defined]
        names = embodiment.action_names
        head = StateHead(len(PRIVILEGED_NAMES), self.plan.hidden, len(names))
        _copy_layers(self.model, [*head.hidden, head.out])
        statistics: Any = self.env.obs_rms
        config = {
            "format": FORMAT,
            "type": "ppo_state",
            "description": "small network on privileged state, learned by PPO",
            "observation": {
                "names": list(PRIVILEGED_NAMES),
                "mean": statistics.mean.tolist(),
                "variance": (statistics.var + self.env.epsilon).tolist(),
                "clip": CLIP_OBSERVATION,
            },
            "control_s": embodiment.control_s,
            "left_handed": self.plan.mirror,
            "hidden": list(self.plan.hidden),
            "action": {
                "names": list(names),
                "units": [UNITS[name] for name in names],
                "scale": [embodiment.max_radps if name == "wz" else embodiment.max_mps for name in names],
            },
        }
        return config, head

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

    def __init__(self, run: Reinforcement, most_s: float, save_s: float) -> None:
        super().__init__()
        self._run, self._most_s, self._save_s = run, most_s, save_s
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
        spread = [run.model.policy.log_std] if hasattr(run.model.policy, "log_std") else []
        for parameter in (*(p for layer in (*hidden, out) for p in layer.parameters()), *spread):
            parameter.requires_grad_(actor_learns)
        now = time.perf_counter()
        run.seconds = self._before_s + now - self._began
        point = self._point()
        run.curve.append(point)
        if now - self._said > 10:
            self._said = now
            speed = (self.num_timesteps - self._began_at) / (now - self._began)
            log.info(f"{line(point)}, {speed:.0f} steps/s")

    def _point(self) -> Point:
        episodes, successes = self.model.ep_info_buffer or (), self.model.ep_success_buffer or ()
        spread = getattr(self.model.policy, "log_std", None)
        return {
            "steps": self.num_timesteps,
            "seconds": round(self._run.seconds, 2),
            "return": round(float(np.mean([e["r"] for e in episodes])), 4) if episodes else None,
            "success": round(float(np.mean(successes)), 4) if successes else None,
            "deviation": round(float(spread.detach().exp().mean()), 4) if spread is not None else None,
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
        "Privileged state (place of the goal and of the nearest bodies, see `vla_sim.core.privileged.TRUTH_NAMES`): "
        "reports say so beside its score, and no robot can give it that."
    )
    facts = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in config["training"].items())
    text = config["description"]
    return (
        f"---\nlicense: apache-2.0\ntags: [robotics, reinforcement-learning, vla-sim]\n---\n\n"
        f"# {text[0].upper()}{text[1:]}\n\n{reads}\n\n## Training\n\n{facts}\n"
    )


def _learned(model: PPO) -> dict[str, torch.Tensor]:
    """Weights and the optimiser's state."""
    tensors = {f"policy.{name}": tensor for name, tensor in model.policy.state_dict().items()}
    for index, state in model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return tensors


def _fill(model: PPO, path: Path) -> None:
    """Raises: UserError, ValueError: the file is missing, damaged or of another network."""
    if not path.is_file() and path.with_suffix(".zip").exists():
        raise ValueError("an earlier version wrote it as a pickle, which can run any code: it was not opened")
    tensors = read_weights(path)
    check_finite(path, tensors)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        owner, _, rest = name.partition(".")
        if owner == "optimiser":
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    model.policy.load_state_dict({n.removeprefix("policy."): t for n, t in tensors.items() if n.startswith("policy.")})
    optimiser = model.policy.optimizer
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _tensorboard_folder(out: Path) -> str | None:
    import importlib.util

    return str(out / "tensorboard") if importlib.util.find_spec("tensorboard") else None
