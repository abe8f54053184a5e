"""Inference of the VLA models: what is computed once against the naive way; with --full, Kosmos-2 at full size."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vla_sim.core.cli import run_command
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.models.full_size import TEXTS, random_full_size
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.policy import VlaPolicy
from vla_sim.policies.models.presets import preset
from vla_sim.policies.models.texts import TextReader, kosmos2_prompt
from vla_sim.policies.tokenizer import InstructionTokenizer

WORLDS, STEPS, WINDOW, REPEATS = 8, 16, 8, 3


def images() -> np.ndarray:
    """What eight robots see while they drive ahead, uint8 (STEPS, WORLDS, 224, 224, 3)."""
    env = NavigateVectorEnv(WORLDS, "two_obstacles_left", autoreset_mode="Disabled")
    seen = [env.reset(seed=0)[0]["image"].copy()]
    for _ in range(STEPS - 1):
        seen.append(env.step(np.tile(np.float32([0.05, 0.0]), (WORLDS, 1)))[0]["image"].copy())
    env.close()
    return np.stack(seen)


def small_policy(backbone: str) -> VlaPolicy:
    """Window-8 LSTM on a small backbone; the weights do not matter for the speed."""
    tokenizer = InstructionTokenizer.trained([*TEXTS, *map(kosmos2_prompt, TEXTS)], vocab_size=300)
    sizes = {"vocab_size": tokenizer.vocab_size, "context_length": tokenizer.context_length}
    torch.manual_seed(0)
    model = VlaModel(preset(backbone, head={"kind": "window_lstm", "window": WINDOW, "hidden": 128}, **sizes))
    # Fresh heads hardly move; with larger weights the comparison of actions means something.
    model.head.out.weight.data.mul_(30)
    return VlaPolicy(model, TextReader.small(tokenizer, [widths.name for widths in model.backbone.widths]))


def ours(policy: VlaPolicy, seen: np.ndarray, texts: list[str]) -> np.ndarray:
    """Worlds in a batch, each image and each text read once. Actions (STEPS, WORLDS, A)."""
    policy.reset(np.ones(WORLDS, dtype=bool), np.arange(WORLDS))
    return np.stack([policy.act({"image": image, "instruction": texts}) for image in seen])


@torch.inference_mode()
def naive(policy: VlaPolicy, seen: np.ndarray, texts: list[str]) -> np.ndarray:
    """One world after the other; at each step all images of the window and the text are read again."""
    model, actions = policy.model, []
    scale = torch.tensor(model.config.action_spec.scale)
    for step in range(len(seen)):
        for world, text in enumerate(texts):
            window = torch.from_numpy(seen[max(0, step - WINDOW + 1) : step + 1, world].copy())
            mask = torch.ones(1, len(window), dtype=torch.bool)
            outputs = model(window, policy.reader.read([text]), mask).outputs
            actions.append((model.head.decode(outputs)[0, -1, 0] * scale).numpy())
    return np.stack(actions).reshape(len(seen), len(texts), -1)


def seconds(run, *arguments) -> tuple[float, np.ndarray]:
    """Best of some runs, and what it returned."""
    found = run(*arguments)
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run(*arguments)
        best = min(best, time.perf_counter() - begin)
    return best, found


def small() -> None:
    seen = images()
    texts = [TEXTS[world % 2] for world in range(WORLDS)]
    print(
        f"window-{WINDOW} LSTM, {WORLDS} worlds, {STEPS} steps from the start of an episode, "
        f"{torch.get_num_threads()} threads"
    )
    for backbone in ("clip-small", "kosmos2-small", "both-small"):
        policy = small_policy(backbone)
        fast, actions = seconds(ours, policy, seen, texts)
        slow, wanted = seconds(naive, policy, seen, texts)
        off = float(np.abs(actions - wanted).max())
        moved = float(np.ptp(wanted, axis=(0, 1)).max())
        assert off < 1e-4 < 0.01 < moved, f"the ways differ by {off}, over actions that differ by {moved}"
        print(
            f"  {backbone:14} ours {1e3 * fast / STEPS:7.2f} ms a step, naive {1e3 * slow / STEPS:8.2f} ms: "
            f"{slow / fast:5.1f} x; actions differ by {off:.0e} of {moved:.2f} m/s at most"
        )


def full() -> None:
    """Each way in its order: the largest first would hide the memory of the others."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"Kosmos-2 + CLIP ViT-B/32 + LSTM head at full size, RANDOM weights, one world, {device}")
    times = {}
    ways = [("bfloat16", torch.bfloat16, False)]
    ways += [("bfloat16, compiled", torch.bfloat16, True)] if device == "cuda" else []
    for name, dtype, compiled in [*ways, ("float32, plain", torch.float32, False)]:
        times[name], memory = full_size_step(dtype, device, compiled=compiled)
        print(f"  {name:20} {1e3 * times[name]:8.0f} ms a step, {memory:5.1f} GB at most", flush=True)
    print(f"  bfloat16 is {times['float32, plain'] / times['bfloat16']:.2f} x as fast as float32")


def full_size_step(dtype: torch.dtype, device: str, *, compiled: bool) -> tuple[float, float]:
    """Seconds of a control step, and the largest memory in GB: of the device, else of this process so far."""
    attention = "sdpa" if dtype == torch.bfloat16 else "eager"
    tokenizer = InstructionTokenizer.trained([*TEXTS, *map(kosmos2_prompt, TEXTS)], vocab_size=300)
    model = random_full_size(dtype=dtype, device=device, context_length=tokenizer.context_length)
    model.set_attn_implementation(attention)
    if compiled:
        model.backbone.compile()
    policy = VlaPolicy(model, TextReader.small(tokenizer, [widths.name for widths in model.backbone.widths]))
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    policy.reset(np.ones(1, dtype=bool), np.zeros(1))
    times = []
    for _ in range(2 + REPEATS):
        begin = time.perf_counter()
        policy.act({"image": image, "instruction": TEXTS[:1]})  # ends with a copy to the host
        times.append(time.perf_counter() - begin)
    on_device = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    memory = on_device / 1e9 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return min(times[2:]), memory


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `benchmarks.bench_vla` is told."""

    full: bool = False
    """Time Kosmos-2 at full size (8 GB of memory)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_command(_run, Options, arguments)


def _run(options: Options) -> int:
    (full if options.full else small)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
