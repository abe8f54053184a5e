"""Which scene an episode gets: shared by the single and the vector env."""

from __future__ import annotations

import functools
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import USERS, Instruction, Scene
from vla_sim.scenarios import Scenario, load_scenario
from vla_sim.scenarios.languages import check_language

# Training draws its seeds below this number; evaluation seeds start at it.
FIRST_EVALUATION_SEED = 100_000

INSTRUCTION_SETS = ("train", "eval")


class SceneSource:
    """Scenes of one scenario for one embodiment."""

    def __init__(
        self,
        scenario: str | PathLike[str] | Scenario,
        embodiment: str | PathLike[str] | Embodiment,
        instruction_set: str,
        language: str | None,
        instruction: str | None = None,
    ) -> None:
        if instruction_set not in INSTRUCTION_SETS:
            raise UserError(
                f"unknown instruction set {shown(instruction_set)}; {suggest(str(instruction_set), INSTRUCTION_SETS)}"
            )
        if language is not None:
            check_language(language)
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(_named(scenario, "scenario"))
        self.embodiment = loaded_embodiment(embodiment)
        self.instruction_set = instruction_set
        self.language = language
        self._told = None if instruction is None else Instruction(instruction, language="", split="", phrasing=USERS)

    @functools.cached_property
    def scenario_hash(self) -> str:
        """Identifies the scenario with its sentences in the language that is spoken."""
        return self.scenario.hash_in(self.language)

    def scene(self, seed: int) -> Scene:
        """The scene of a seed, told the user's own sentence where there is one."""
        scene = self.scenario.sample(
            seed,
            split=self.instruction_set,
            robot_radius_m=self.embodiment.body.radius_m,
            language=self.language,
        )
        return scene if self._told is None else replace(scene, instruction=self._told)

    def next_scene(self, seed: int | None, given: Scene | None, rng: np.random.Generator) -> Scene:
        """The scene that was handed over, or that of the seed, or one of a fresh training seed."""
        if given is not None:
            return given
        return self.scene(int(rng.integers(FIRST_EVALUATION_SEED)) if seed is None else seed)


def loaded_embodiment(embodiment: str | PathLike[str] | Embodiment) -> Embodiment:
    """An embodiment by name or path; one that is loaded already stays as it is.

    Raises:
        UserError: no such embodiment, or neither name, path nor `Embodiment`.
    """
    return embodiment if isinstance(embodiment, Embodiment) else load_embodiment(_named(embodiment, "embodiment"))


def _named(value: Any, what: str) -> str | PathLike[str]:
    if not isinstance(value, (str, PathLike)):
        raise UserError(f"{what} must be a name, a path or loaded already, got {shown(value)}")
    return value
