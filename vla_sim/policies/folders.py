"""Policy folders as on a model hub: `config.json`, perhaps `model.safetensors` and `tokenizer.json`, a README.

Reading one executes nothing: JSON and safetensors only; pickles are refused by name. No torch until weights are read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vla_sim.core.config import Place, check_keys, read_json
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.policies.identity import file_sha256
from vla_sim.policies.types import policy_types
from vla_sim.policies.weights import Sizes, check_finite, check_sizes, read_weights

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

FORMAT = 1
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
# Of a policy with two backbones, each with a vocabulary of its own.
CLIP_TOKENIZER = "tokenizer_clip.json"
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
# A chunked ensemble of heads on backbones is three folders deep.
DEEPEST, MOST_PARTS = 5, 32
# Bytes of a config, and of a folder's name on any file system.
LARGEST, LONGEST_NAME = 2**24, 255
# Keys that every config may have.
COMMON_KEYS = ("format", "type", "description", "control_s")


class PolicyError(UserError):
    """A policy that cannot be used; the message names folder, field and value."""


@dataclass(frozen=True)
class PolicyFolder:
    """One folder with a checked `config.json`.

    Attributes:
        path: the folder.
        config: the whole config.
        chain: the folders that led here, outermost first; a folder may not name one of them.
    """

    path: Path
    config: Mapping[str, Any]
    chain: tuple[Path, ...] = ()

    @classmethod
    def read(cls, path: Path, chain: tuple[Path, ...] = ()) -> PolicyFolder:
        """Read a folder's config.

        Raises:
            PolicyError: no folder, no config, or not JSON of our format.
        """
        path = path.resolve()
        if path in chain:
            raise PolicyError(f"policies name each other in a circle: {' -> '.join(p.name for p in (*chain, path))}")
        if not (path / CONFIG).is_file():
            raise PolicyError(f"{path} is no policy folder: {CONFIG} is missing{_pickle_note(path)}")
        if len(chain) > DEEPEST:
            raise PolicyError(f"policies are nested too deeply: {' -> '.join(p.name for p in (*chain, path))}")
        size = (path / CONFIG).stat().st_size
        if size > LARGEST:
            raise PolicyError(f"{path / CONFIG} has {size} bytes: no config is larger than {LARGEST}")
        config = read_json(path / CONFIG, PolicyError)
        if config.get("format") != FORMAT:
            raise PolicyError(f"format must be {FORMAT}, got {config.get('format')!r:.80} ({path / CONFIG})")
        return cls(path, config, chain)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def kind(self) -> str:
        """The config's "type": what kind of policy it holds."""
        return str(self.config.get("type"))[:80]

    @property
    def description(self) -> str:
        """One line for tables; the name where the config says nothing."""
        return str(self.config.get("description") or self.name)[:300]

    def error(self, message: str) -> PolicyError:
        """An error that says which config it is about."""
        return PolicyError(f"{message} ({self.path / CONFIG})")

    def know(self, keys: Iterable[str]) -> None:
        """Refuse keys other than these and the common ones."""
        check_keys(self.config, [*COMMON_KEYS, *keys], Place(self.path / CONFIG, error=PolicyError))

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """A value of the config, checked for its type; without a default it must be there."""
        if key not in self.config:
            if default is None:
                raise self.error(f"{key} is missing")
            return default
        value = self.config[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000:
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"{key} must be {_words(kind)}, got {value!r:.80}")
        return value

    def action_names(self, default: Sequence[str] = ("vx", "vy")) -> tuple[str, ...]:
        """The config's "action_names", or the default where it says nothing."""
        return tuple(map(str, self.get("action_names", list, list(default))))

    def control_s(self) -> float | None:
        """The config's "control_s", seconds from one action to the next that the policy was made for; None: any."""
        if "control_s" not in self.config:
            return None
        control_s = float(self.get("control_s", float))
        if not (math.isfinite(control_s) and control_s > 0):
            raise self.error(f"control_s must be a positive number of seconds, got {control_s}")
        return control_s

    def needs(self) -> list[str]:
        """Names of the folders that this one is made of, besides itself."""
        kind = policy_types().get(self.kind)
        named = kind.needs(self.config) if kind else []
        names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
        if len(names) > MOST_PARTS:
            raise self.error(f"a policy is made of at most {MOST_PARTS} others, got {len(names)}")
        return names

    def sibling(self, name: str) -> PolicyFolder:
        """A folder that this one names: beside it, else among the policies that come with the package."""
        plain = Path(name).name == name and name not in ("", ".", "..") and name.isprintable() and name[0] != "~"
        if not plain or len(name.encode(errors="replace")) > LONGEST_NAME:
            raise self.error(
                f"what {self.name} needs must be the name of a policy beside it or of ours, got {name!r:.80}"
            )
        beside = self.path.parent / name
        path = beside if (beside / CONFIG).is_file() else shipped_folder(name)
        return PolicyFolder.read(path, (*self.chain, self.path))

    def weights(self) -> dict[str, torch.Tensor]:
        """The tensors of `model.safetensors`.

        Raises:
            PolicyError: missing, truncated, or a pickle where safetensors belong.
        """
        return self._of_weights(read_weights)

    def check_weights(self, wanted: Sizes) -> None:
        """Hold the weights' file against what a network asks for; only its head is read.

        Raises:
            PolicyError: names, shapes or types of the tensors differ, or the file cannot be read.
        """
        self._of_weights(lambda path: check_sizes(path, wanted))

    def load_into(self, module: torch.nn.Module, named: Callable[[str], str] = str) -> None:
        """Fill a network with the folder's weights.

        Args:
            module: the network.
            named: what a weight of the network is called in the file.

        Raises:
            PolicyError: names, shapes or types of the tensors differ from the network's, or a value is not finite.
        """
        wanted = module.state_dict()
        self.check_weights({named(name): (tuple(tensor.shape), tensor.dtype) for name, tensor in wanted.items()})
        given = self.weights()
        self._of_weights(lambda path: check_finite(path, given))
        module.load_state_dict({name: given[named(name)] for name in wanted})

    def _of_weights(self, action: Callable[[Path], T]) -> T:
        path = self.path / WEIGHTS
        try:
            return action(path)
        except UserError as error:
            note = "" if path.is_file() else _pickle_note(self.path)
            raise PolicyError(f"{error}{note}") from error

    def own_hash(self) -> str:
        """sha256 over config, weights and tokenizer of this folder alone, hex. The README does not count."""
        digest = hashlib.sha256()
        for path in self.hashed_files():
            digest.update(path.name.encode() + b"\0" + bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()

    def hashed_files(self) -> list[Path]:
        """The files of this folder that decide what the policy does."""
        paths = [self.path / name for name in (CONFIG, WEIGHTS, TOKENIZER, CLIP_TOKENIZER)]
        return [path for path in paths if path.is_file()]


def shipped_names() -> list[str]:
    """Names of the folders that come with the package, sorted."""
    return sorted(config.parent.name for config in content_folder("policies").glob(f"*/{CONFIG}"))


def shipped_folder(name: str) -> Path:
    """A folder that comes with the package.

    Raises:
        PolicyError: there is none of this name; the message offers the nearest.
    """
    known = shipped_names()
    if name not in known:
        raise PolicyError(f"unknown policy {name!r}; {suggest(name, known)}")
    return content_folder("policies") / name


def refuse_pickle(path: Path) -> None:
    """Raise for a file that would have to be unpickled, which could run anything."""
    if path.suffix.lower() in PICKLES:
        raise PolicyError(
            f"{path} is a pickle, which can run any code when it is read: refused, nothing was executed. "
            f"Convert it to safetensors and name its folder (with {CONFIG} and {WEIGHTS})"
        )


def _pickle_note(path: Path) -> str:
    """What to say when there is a pickle where safetensors belong."""
    found = sorted(p.name for p in path.glob("*") if p.suffix.lower() in PICKLES) if path.is_dir() else []
    return f"; {found[0]} is a pickle and was not opened: convert it to {WEIGHTS}" if found else ""


def _words(kind: type) -> str:
    return {str: "text", float: "a number", int: "a whole number", list: "a list", dict: "an object"}.get(
        kind, kind.__name__
    )
