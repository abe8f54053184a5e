"""Does DAgger help, or only more training? Steps from 72 seed-like recordings to DAgger, each beside its control.

`python -m benchmarks.experiment_dagger --out runs/experiment` makes data, policies, evaluations, table and plot from
seeds. Every arm leaves a file; started again, only what is missing is done. One process for each training seed.

bc72     cloning of 72 recordings made like serbot's: 24 scripts, three recordings of each, nothing added
repeat   control of bc200: the same 72, repeated to as many images, as many steps
bc200    the 72 expanded to 200 by `vla_sim.expand`
augment  the 200 with mirroring, shifts, colours and garbled words; its control is bc200: same images, same steps
dagger   augment, then rounds of DAgger with a gate
longer   augment, then as many steps as all rounds together, and nothing new to learn from; no gate holds it back
control  augment, then as many rounds with the same gate, of as many images of plain demonstrations in their worlds
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from benchmarks.experiment_dagger_report import ARMS, write_report
from vla_sim.core.bounds import Positive, Workers
from vla_sim.core.cli import run_command
from vla_sim.core.files import FolderLock, write_whole
from vla_sim.core.options import Folder, OptionalFolder, named
from vla_sim.core.run_folder import bind
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.scenarios import load_suite
from vla_sim.training.batches import Sampler
from vla_sim.training.closed_loop import FitPlan, ValidationSuite, fit
from vla_sim.training.config import TrainConfig
from vla_sim.training.seeds import CHOOSING, REPORTING
from vla_sim.training.sources import Shape, SourceSpec, open_source

if TYPE_CHECKING:
    from vla_sim.training.warm_start import Beginning

# Half the channels of the shipped network: twice as fast, and 200 episodes do not need more.
SIZES: dict[str, Any] = {"channels": (16, 32, 48), "fused_channels": 64}
PLAIN: dict[str, Any] = {"mirror": 0.0, "jitter": 0.0, "shift_px": 0, "vary_words": 0.0}
SIDES, DISTANCES = ("left", "right"), ("close", "medium", "far")
KINDS = ("1box_vert", "1box_hori", "2box_vert", "2box_hori")
# The worlds that the recordings are from, without distances.
HOME = tuple(f"{kind}_{side}" for kind in KINDS for side in SIDES)
SEED_STRIDE = 30_000
# Lower than that of cloning: what is trained on is already good.
ROUNDS_RATE = 7e-4
# Worlds of the recordings, of the expansion, of the rounds: from the first seed of a training seed on.
RECORDED, EXPANDED = 25_000, 26_000
DRIVER = "clip_lstm"


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        recordings, expanded: episodes.
        steps: of cloning.
        rounds, round_episodes, round_steps: of DAgger.
        gate: worlds of each scenario.
        worlds: held-out worlds in all of a suite, spread over its scenarios.
        batch_episodes: of a step.
        rounds_in: where the rounds, the gate and the controls drive: "core", or "home" for worlds like the recordings.
        beta: the expert's share of DAgger's rounds, see `vla_sim.dagger`. The textbook's choice without parameters is
            none at all once there are demonstrations.
        language: of the recordings and of what expands them: "en", "ko", or "both". Rounds, control and held-out worlds
            always bring both, so with one language alone they teach the other.
    """

    recordings: int = 72
    expanded: int = 200
    steps: int = 1500
    rounds: int = 4
    round_episodes: int = 100
    round_steps: int = 750
    gate: int = 40
    worlds: int = 200
    batch_episodes: int = 16
    rounds_in: str = "home"
    beta: str = "constant:0"
    language: str = "both"

    @property
    def spoken(self) -> str | None:
        """The one language of the recordings, if it is one."""
        return None if self.language == "both" else self.language

    def scaled(self, scale: float) -> Sizes:
        """For a try: fewer steps, rounds and worlds; the recordings stay."""
        if scale == 1:
            return self

        def some(count: int, least: int) -> int:
            return max(least, round(count * scale))

        return replace(
            self,
            steps=some(self.steps, 4),
            rounds=some(self.rounds, 2),
            round_episodes=some(self.round_episodes, 6),
            round_steps=some(self.round_steps, 4),
            gate=some(self.gate, 2),
            worlds=some(self.worlds, 12),
        )


class Chain:
    """All arms of one training seed.

    Args:
        out: folder of this seed.
        seed: of weights, batches and worlds.
        sizes: how large.
    """

    def __init__(self, out: Path, seed: int, sizes: Sizes) -> None:
        from vla_sim.core.embodiments import load_embodiment

        self.out, self.seed, self.sizes = out, seed, sizes
        self.robot = load_embodiment("serbot")
        self.core = tuple(scenario.name for scenario in load_suite("core"))
        self.first = seed * SEED_STRIDE

    def run(self) -> None:
        """Whatever is missing."""
        bind(self.out, {"seed": self.seed, **vars(self.sizes)})
        clone = {
            "bc72": lambda: self._clone("bc72", self._recorded(), PLAIN),
            "repeat": lambda: self._clone("repeat", self._repeated(), PLAIN),
            "bc200": lambda: self._clone("bc200", self._expanded(), PLAIN),
            "augment": lambda: self._clone("augment", self._expanded(), {}),
            "dagger": lambda: self._rounds("dagger"),
            "longer": self._longer,
            "control": lambda: self._rounds("control"),
        }
        for name in ARMS:
            self._arm(name, clone[name])

    def _arm(self, name: str, make: Callable[[], tuple[Path, dict[str, Any]]]) -> None:
        record = self.out / f"{name}.json"
        if record.exists():
            return
        begin = time.perf_counter()
        policy, facts = make()
        trained_s = time.perf_counter() - begin
        found = {suite: self._driven(name, policy, suite) for suite in ("core", "home")}
        facts |= {"train_s": round(trained_s, 1), "all_s": round(time.perf_counter() - begin, 1)}
        document = {"format": 1, "arm": name, "seed": self.seed, **facts, "results": found}
        write_whole(record, (json.dumps(document) + "\n").encode())
        rates = ", ".join(f"{suite} {sum(r[2] for r in rows) / len(rows):.1%}" for suite, rows in found.items())
        print(f"seed {self.seed} {name}: {rates}, {facts['all_s']:.0f} s", flush=True)

    def _driven(self, name: str, policy: Path, suite: str) -> list[list[Any]]:
        """(scenario, seed, success) of every held-out world."""
        scenarios = self.core if suite == "core" else HOME
        each = -(-self.sizes.worlds // len(scenarios))
        suite = ValidationSuite(scenarios, range(REPORTING, REPORTING + each), instruction_set="eval")
        driven = suite.drive(policy / DRIVER, self.out / "drives" / f"{name}_{suite}")
        return [[scenario, seed, success] for (scenario, seed), success in sorted(driven.items())]

    # --- data ------------------------------------------------------------------------------------------------------

    def _recorded(self) -> list[Demonstrations]:
        """As serbot's data: a script for each of 24 layouts, recorded again and again, steered by keys."""
        from vla_sim.datasets.writing import Contents, WriteOptions, write_dataset
        from vla_sim.rollout.filling import FileShape, fill, plan_of
        from vla_sim.rollout.recording import RecordingJob, RecordingSetup

        folder = self.out / "recordings"
        layouts = [f"{kind}_{side}_{distance}" for kind in KINDS for side in SIDES for distance in DISTANCES]
        jobs = [
            RecordingJob(i, layouts[i % len(layouts)], self.first + RECORDED + i % len(layouts))
            for i in range(self.sizes.recordings)
        ]
        setup = RecordingSetup(keys=True, language=self.sizes.spoken)
        shape, robot = FileShape({"channel_order": "bgr"}, True), setup.robot()
        contents = Contents(robot.control_s, robot.camera.image_px, robot.name)
        plan = {"kind": "recordings", **plan_of(setup, shape, jobs)}
        with write_dataset(folder, plan, WriteOptions(), contents) as writer:
            fill(writer, jobs, setup, shape, workers=1)
            writer.finish()
        return self._read("recordings", folder)

    def _repeated(self) -> list[Demonstrations]:
        from vla_sim.training.aggregation import cut

        wanted = sum(int(part.mask.sum()) for part in self._expanded())
        parts = self._recorded()
        times = -(-wanted // sum(int(part.mask.sum()) for part in parts))
        return cut(parts * times, wanted)

    def _expanded(self) -> list[Demonstrations]:
        from vla_sim.rollout.driving import DriveOptions
        from vla_sim.rollout.expanding import ExpandConfig, expand

        self._recorded()
        folder = self.out / "expanded"
        if not (folder / "done").exists():
            config = ExpandConfig(
                data=self.out / "recordings",
                target_episodes=self.sizes.expanded,
                first_seed=self.first + EXPANDED,
                drives=DriveOptions(keys=True, language=self.sizes.spoken),
            )
            expand(config, folder, workers=1)
            write_whole(folder / "done", b"")
        return self._read("expanded", folder)

    def _read(self, name: str, folder: Path) -> list[Demonstrations]:
        shape = Shape(96, self.robot.action_names, self.robot.control_s)
        source = open_source(SourceSpec(name, folder), shape, self.out / "shrunk" / name)
        return source.named()

    # --- learning --------------------------------------------------------------------------------------------------

    def _config(self, **changes: Any) -> TrainConfig:
        # Recordings do not say where the goal is: no arm is taught it.
        return TrainConfig(batch_episodes=self.sizes.batch_episodes, where_weight=0.0, seed=self.seed, **changes)

    def _clone(self, name: str, parts: list[Demonstrations], changes: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        from vla_sim.training.warm_start import begin_afresh

        begun = begin_afresh(self.robot, seed=self.seed, **SIZES)
        return self._fitted(name, begun, parts, self._config(**changes), self.sizes.steps)

    def _longer(self) -> tuple[Path, dict[str, Any]]:
        """The clone, trained on in one stretch."""
        from vla_sim.training.warm_start import begin_with

        begun = begin_with(str(self.out / "augment" / "policy" / DRIVER))
        config = replace(self._config(learning_rate=ROUNDS_RATE), seed=self.seed * 1000 + 1)
        folder, facts = self._fitted(
            "longer", begun, self._expanded(), config, self.sizes.rounds * self.sizes.round_steps
        )
        return folder, {**facts, "frames": 0}

    def _fitted(
        self, name: str, begun: Beginning, parts: list[Demonstrations], config: TrainConfig, steps: int
    ) -> tuple[Path, dict[str, Any]]:
        from vla_sim.training.behaviour_cloning import Trainer

        sampler = Sampler(config, {group: 1.0 for part in parts for group in part.groups})
        trainer = Trainer(begun, config, self.out / name, sampler)
        for part in parts:
            trainer.add(part)
        # One look at the end: all arms take all their steps.
        suite = ValidationSuite(HOME[:2], CHOOSING[:2])
        folder = fit(trainer, FitPlan(steps, steps, 0, suite, DRIVER), curves=False)
        frames = sum(int(part.mask.sum()) for part in parts)
        facts = {"steps": steps, "episodes": trainer.source.episodes, "frames": frames}
        return folder, {**facts, "frames_seen": _frames_seen(folder)}

    def _rounds(self, name: str) -> tuple[Path, dict[str, Any]]:
        """DAgger, or the same with the expert alone at the wheel until there are as many images."""
        from vla_sim.training.aggregation import Schedule
        from vla_sim.training.dagger import START, Rounds, RoundsPlan

        sizes, control = self.sizes, name == "control"
        plan = RoundsPlan(
            policy=str(self.out / "augment" / "policy" / DRIVER),
            rounds=sizes.rounds,
            scenarios=self.core if sizes.rounds_in == "core" else HOME,
            # The expert's episodes are shorter: more of them make as many images.
            episodes=sizes.round_episodes * (8 if control else 1),
            stride=sizes.round_episodes * 8,
            frames=tuple(self._gathered("dagger")) if control else (),
            schedule=Schedule.parse("constant:1" if control else sizes.beta),
            steps=sizes.round_steps,
            check_every=sizes.round_steps,
            choosing=1,
            comparing=sizes.gate,
            seed=self.seed,
        )
        parts = self._expanded()
        weights = {group: 1.0 for part in parts for group in part.groups}
        config = self._config(learning_rate=ROUNDS_RATE)
        rounds = Rounds(plan, self.out / name, parts, weights, config)
        entries = rounds.run()
        accepted = [entry["round"] for entry in entries if entry["accepted"]]
        last = rounds.policy_of(accepted[-1] if accepted else START)
        frames = self._gathered(name)
        facts = {
            "steps": sizes.rounds * sizes.round_steps,
            "frames": sum(frames),
            "frames_of_rounds": frames,
            "frames_seen": sum(_frames_seen(rounds.policy_of(entry["round"])) for entry in entries),
            "accepted": accepted,
            "gate": [{k: entry[k] for k in ("round", "beta", "accepted", "overall", "forgotten")} for entry in entries],
        }
        return last, facts

    def _gathered(self, name: str) -> list[int]:
        manifests = sorted((self.out / name / "data").glob("round_*/manifest.json"))
        return [json.loads(path.read_text("utf-8"))["frames"] for path in manifests]


def _frames_seen(policies: Path) -> int:
    """Images that a training has learned from, repetitions counted."""
    config = json.loads((policies / DRIVER / "config.json").read_text("utf-8"))
    return int(config["training"]["images_seen"])


def read_document(folder: Path, arm: str) -> dict[str, Any]:
    """The record of an arm, with the language of each sentence that it was told."""
    document: dict[str, Any] = json.loads((folder / f"{arm}.json").read_text("utf-8"))
    document["languages"] = {}
    for suite in document["results"]:
        lines = (folder / "drives" / f"{arm}_{suite}" / "episodes.jsonl").read_text("utf-8").splitlines()
        episodes = [json.loads(line) for line in lines]
        document["languages"][suite] = {(e["scenario"], e["seed"]): e["language"] for e in episodes}
    return document


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `benchmarks.experiment_dagger` is told."""

    seeds: Annotated[tuple[Literal[0, 1, 2], ...], named("SEED ...")] = (0, 1, 2)
    """Training seeds."""
    scale: Positive = 1.0
    """Factor on steps, rounds and worlds, for a try."""
    rounds_in: Literal["core", "home"] = "home"
    """Worlds of rounds and control; home: those of the recordings."""
    beta: str = "constant:0"
    """The expert's share of DAgger's rounds."""
    language: Literal["both", "en", "ko"] = "both"
    """Of recordings and expansion."""
    workers: Workers = 3
    """Training seeds at a time, one thread each."""
    docs: OptionalFolder = None
    """Also put table and plot there, e.g. docs."""
    only: Annotated[int | None, named("SEED")] = None
    """Train this seed in this process and write no table: what the command starts for each seed."""
    out: Folder = Path("runs/experiment")
    """Output folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; returns its exit code."""
    return run_command(run, Options, arguments, epilog=(__doc__ or "").partition("\n\n")[2])


def run(options: Options) -> int:
    """Train every arm on every seed, write the table."""
    out = options.out.resolve()
    sizes = replace(Sizes(), rounds_in=options.rounds_in, beta=options.beta, language=options.language)
    sizes = sizes.scaled(options.scale)
    if options.only is not None:
        import torch

        torch.set_num_threads(1)
        with FolderLock(out / f"seed_{options.only}"):
            Chain(out / f"seed_{options.only}", options.only, sizes).run()
        return 0
    begin = time.perf_counter()
    _run_chains(options, out)
    documents = [read_document(out / f"seed_{seed}", arm) for seed in options.seeds for arm in ARMS]
    print(write_report(documents, vars(sizes), out, options.docs))
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes")
    return 0


def _run_chains(options: Options, out: Path) -> None:
    """One process for each training seed, some at a time."""
    waiting: list[int] = list(options.seeds)
    running: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "benchmarks.experiment_dagger", "--out", str(out)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        while waiting or running:
            while waiting and len(running) < options.workers:
                chosen = ["--rounds-in", options.rounds_in, "--beta", options.beta, "--language", options.language]
                arguments = [*chosen, "--scale", str(options.scale), "--only", str(waiting.pop(0))]
                running.append(subprocess.Popen([*command, *arguments], env=one_thread))
            failed = [process for process in running if process.poll() not in (None, 0)]
            if failed:
                raise SystemExit(f"a training failed with exit code {failed[0].returncode}; start again to go on")
            running = [process for process in running if process.poll() is None]
            time.sleep(0.2)
    finally:
        for process in running:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
