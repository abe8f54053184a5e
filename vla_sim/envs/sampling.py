"""Which scene an episode gets: shared by the single and the vector env."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Scene
from vla_sim.scenarios import Scenario, load_scenario

# Training draws its seeds below this number; evaluation seeds start at it.
FIRST_EVALUATION_SEED = 100_000

INSTRUCTION_SETS = ("train", "eval")


class SceneSource:
    """Scenes of one scenario for one embodiment."""

    def __init__(
        self, scenario: str | Scenario, embodiment: str | Embodiment, instruction_set: str, language: str | None
    ) -> None:
        if instruction_set not in INSTRUCTION_SETS:
            raise UserError(
                f"unknown instruction set {instruction_set!r}; {suggest(instruction_set, INSTRUCTION_SETS)}"
            )
        self.scenario = load_scenario(scenario) if isinstance(scenario, str) else scenario
        self.embodiment = load_embodiment(embodiment) if isinstance(embodiment, str) else embodiment
        self.instruction_set = instruction_set
        self.language = language

    def scene(self, seed: int) -> Scene:
        """The scene of a seed."""
        return self.scenario.sample(
            seed,
            split=self.instruction_set,
            robot_radius_m=self.embodiment.body.radius_m,
            language=self.language,
        )

    def next_scene(self, seed: int | None, given: Any, rng: np.random.Generator) -> Scene:
        """The scene that was handed over, or that of the seed, or one of a fresh training seed."""
        if given is not None:
            if not isinstance(given, Scene):
                raise UserError(f"options['scene'] must be a vla_sim.core.types.Scene, got {type(given).__name__}")
            return given
        return self.scene(int(rng.integers(FIRST_EVALUATION_SEED)) if seed is None else seed)
