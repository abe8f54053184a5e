"""What became of each weight of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.policies.folders import PolicyError

SHOWN = 6


@dataclass(frozen=True)
class LoadReport:
    """How a checkpoint was loaded; all names are those in the file.

    Attributes:
        file: its name.
        layout: what it was recognised as.
        matched: weights that the policy drives with.
        missing: weights that the model needs and the file lacks.
        unexpected: weights of the file that no part of the layout takes.
        unused: weights of known parts that this layout never reads, e.g. the text tower of a model that ignores texts.
        left_out: weights that the user told it to leave out ("ignore" in config.json).
        rebuilt: layers that the original creates at its first step, rebuilt from the shapes found.
        from_source: backbones whose weights are not in the file -> where they came from.
        entries: what else the file holds and was not read, e.g. "optimizer_state_dict".
        reads_language: whether the instruction can change the action.
    """

    file: str
    layout: str
    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()
    from_source: tuple[tuple[str, str], ...] = ()
    entries: tuple[str, ...] = ()
    reads_language: bool = True

    @property
    def text(self) -> str:
        """For people, a line for each kind of weights."""
        lines = [f"{self.file}: layout {self.layout}, {len(self.matched)} weights matched"]
        for what, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("known, not read by this layout", self.unused),
            ("left out as config.json says", self.left_out),
            ("layers rebuilt from their shapes", self.rebuilt),
            ("backbones from elsewhere", [f"{name} ({where})" for name, where in self.from_source]),
            ("other entries, not read", self.entries),
        ):
            if names:
                lines.append(f"  {what}: {some(names)}")
        if not self.reads_language:
            lines.append("  this architecture does not read the instruction: no wording changes its actions")
        return "\n".join(lines)

    def check(self) -> None:
        """Refuse to drive with weights that nobody trained.

        Raises:
            PolicyError: a weight is missing, or one is there that could change the actions and has no place.
        """
        if self.missing:
            raise PolicyError(
                f"{self.file} (layout {self.layout}) lacks {len(self.missing)} weights, which would be random: "
                f"{some(self.missing)}. Nothing was loaded"
            )
        if any(".lora_" in name for name in self.unexpected):
            raise PolicyError(
                f"{self.file} holds LoRA adapters ({some(self.unexpected)}): merge them into the weights before "
                "saving (peft: merge_and_unload)"
            )
        if self.unexpected:
            raise PolicyError(
                f"{self.file} (layout {self.layout}) holds {len(self.unexpected)} weights that have no place in it: "
                f"{some(self.unexpected)}. Without them its actions may differ from the original's; if they do not "
                'matter, list their prefixes under "ignore" in config.json'
            )


def some(names: Sequence[str]) -> str:
    """The first names and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
