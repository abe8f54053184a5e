"""From a name, a folder or `module:Class` to a policy, and to the hash that identifies it. No torch at import."""

from __future__ import annotations

import ast
import hashlib
import importlib
import logging
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_sim.core.errors import suggest
from vla_sim.core.specs import Embodiment
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.checkpoints import files as checkpoints
from vla_sim.policies.folders import CONFIG, PolicyError, PolicyFolder, refuse_pickle, shipped_folder, shipped_names
from vla_sim.policies.identity import file_sha256, find_module, imported_sources
from vla_sim.policies.types import drivers, policy_types

# What the extra `vla` brings.
EXTRA_MODULES = ("transformers", "huggingface_hub")

log = logging.getLogger(__name__)


def load_policy(name: str) -> Policy:
    """The policy of that name (in `policies/`), folder, or `module:Class`.

    Raises:
        UserError: there is none (with the nearest name), or it cannot be used; nothing of it was executed, except
            that `module:Class` imports the module.
    """
    if is_class(name):
        return _made(_named_class(name), name)
    return load_folder(policy_folder(name))


def load_folder(folder: PolicyFolder) -> Policy:
    """The policy in an already read folder."""
    cls = _import(policy_types()[_checked_type(folder)].loader)
    build = getattr(cls, "from_folder", None)
    if build is None:
        folder.know(())
    policy: Policy = cls() if build is None else build(folder)
    control_s = folder.control_s()
    if control_s is not None:
        policy.spec = replace(policy.spec, control_s=control_s)
    return policy


def policy_hash(name: str) -> str:
    """What identifies a policy: sha256, hex, over everything that decides what it does.

    That is configs, weights, tokenizer and members; for `module:Class` and scripted policies the source file and the
    user's modules that it imports. Executes nothing and needs no torch. What else a policy reads is known only when it
    has been loaded: see `vla_sim.policies.identity`.
    """
    if is_class(name):
        return _digest([name.partition(":")[2], *_source_hashes(name)])
    return folder_hash(policy_folder(name))


def identity_hash(name: str) -> str:
    """As an evaluation identifies a policy: a class with the files that it reads while it is loaded, which is tried.

    Raises:
        UserError: it cannot be loaded.
    """
    from vla_sim.policies.identity import FilesRead, Identity

    code = Identity(policy_hash(name))
    if not is_class(name):
        return code.hash
    read = FilesRead(hashed_files(name))
    with read:
        named = getattr(load_policy(name), "identity_files", None)
        for path in named() if callable(named) else ():
            read.note(path)
    return code.with_files(read.new()).hash


def hashed_files(name: str) -> list[Path]:
    """The files that `policy_hash` covers."""
    if is_class(name):
        module = name.partition(":")[0]
        return [_source(module), *imported_sources(module).values()]
    return _files_of(policy_folder(name))


def _files_of(folder: PolicyFolder) -> list[Path]:
    files = folder.hashed_files()
    kind = policy_types()[_checked_type(folder, parts_too=True)]
    if kind.code:
        module = kind.loader.partition(":")[0]
        files += [_source(module), *imported_sources(module).values()]
    if folder.kind == checkpoints.KIND:
        files += checkpoints.hashed_files(folder)
    return [*files, *(file for other in folder.needs() for file in _files_of(folder.sibling(other)))]


def refuse_unusable(name: str, robot: Embodiment) -> None:
    """Refuse what cannot be a policy of a robot, as far as that can be told without loading it.

    Raises:
        UserError: there is no such policy (with the nearest name), its files are damaged, it is a part of others, or
            the robot has another control rate.
    """
    policy_hash(name)
    if not is_class(name):
        folder = policy_folder(name)
        kind, rate = policy_types()[_checked_type(folder)], _control_s(folder)
        reason = PolicySpec((), (), control_s=rate).misfit(robot)
        if reason:
            raise PolicyError(f"policy {name!r} {reason}")
        if rate is None and not kind.code:
            log.info(
                f"policy {name!r} does not say its control rate (control_s in its config): taken to be made for "
                f"{robot.name}'s action every {robot.control_s:g} s"
            )


def _control_s(folder: PolicyFolder) -> float | None:
    """The control rate that a folder's config or those of its members name."""
    rates = [folder.control_s(), *(_control_s(folder.sibling(other)) for other in folder.needs())]
    return next((rate for rate in rates if rate is not None), None)


def folder_hash(folder: PolicyFolder) -> str:
    """See `policy_hash`."""
    parts = [folder.own_hash()]
    kind = _checked_type(folder, parts_too=True)
    if policy_types()[kind].code:
        parts += _source_hashes(policy_types()[kind].loader)
    if kind == checkpoints.KIND:
        parts.append(checkpoints.content_hash(folder))
    return _digest([*parts, *(folder_hash(folder.sibling(other)) for other in folder.needs())])


def policy_names() -> list[str]:
    """Names that `load_policy` knows, sorted."""
    folders = [PolicyFolder.read(shipped_folder(name)) for name in shipped_names()]
    return [folder.name for folder in folders if folder.kind in drivers()]


def find_folder(name: str) -> Path:
    """Where a named policy lies.

    Raises:
        PolicyError: nowhere; the message offers the nearest name.
    """
    path = Path(name).expanduser()
    if checkpoints.is_checkpoint(path):
        return path.parent
    if path.suffix.lower() in checkpoints.SUFFIXES and path.is_file():
        raise checkpoints.no_config(path)
    refuse_pickle(path)
    if path.name == name and name in shipped_names():
        return shipped_folder(name)
    if path.is_dir():
        return path
    if path.exists():
        raise PolicyError(f"policy {name} is a file: name its folder (with {CONFIG} in it)")
    if path.name != name:
        raise PolicyError(f"policy folder {name} does not exist")
    raise PolicyError(f"unknown policy {name!r}; {suggest(name, policy_names())}")


def policy_folder(name: str) -> PolicyFolder:
    """The folder of a named policy; a checkpoint's file stands for its folder with that file in it."""
    path = Path(name).expanduser()
    return checkpoints.folder_of(path) if checkpoints.is_checkpoint(path) else PolicyFolder.read(find_folder(name))


def _checked_type(folder: PolicyFolder, *, parts_too: bool = False) -> str:
    kind = folder.kind
    known = policy_types().get(kind)
    if known is None:
        raise folder.error(f"unknown type {kind!r}; {suggest(kind, drivers())}")
    if known.part and not parts_too:
        raise folder.error(f"{folder.name} is a part of other policies, not a policy{_users_of(folder.name)}")
    return kind


def _users_of(part: str) -> str:
    """': it belongs to a, b' for a part of shipped policies."""
    users = [name for name in policy_names() if part in PolicyFolder.read(find_folder(name)).needs()]
    return f": it belongs to {', '.join(users)}" if users else ""


def is_class(name: str) -> bool:
    """Whether a policy's name is of the form `module:Class`."""
    module, colon, cls = name.partition(":")
    return bool(colon) and cls.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _source(module: str) -> Path:
    """Where a module's source lies, found without importing anything."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a script of the user's beside which the console command was started
    spec = find_module(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise PolicyError(f"module {module!r} cannot be found (looked in the current folder and Python's path)")
    return Path(spec.origin)


def _source_hashes(name: str) -> list[str]:
    """Of the module of a `module:Class`, and of the user's modules that it imports, with their names."""
    module, _, cls = name.partition(":")
    path = _source(module)
    _check_defined(path, cls)
    others = imported_sources(module)
    return [file_sha256(path), *(f"{other} {file_sha256(others[other])}" for other in sorted(others))]


def _check_defined(path: Path, cls: str) -> None:
    """Refuse a class that the module neither defines nor imports by name; seen without running it."""
    if path.suffix != ".py":
        return
    try:
        body = ast.parse(path.read_bytes()).body
    except SyntaxError as error:
        raise PolicyError(f"{path} is no Python: {error}") from error
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    if cls not in classes and not re.search(rb"\b" + cls.encode() + rb"\b", path.read_bytes()):
        raise PolicyError(f"{path.stem} has no class {cls!r}; {suggest(cls, classes)}")


def _named_class(name: str) -> Any:
    _check_defined(_source(name.partition(":")[0]), name.partition(":")[2])
    return _import(name)


def _import(name: str) -> Any:
    module, _, cls = name.partition(":")
    try:
        return getattr(importlib.import_module(module), cls)
    except AttributeError as error:
        raise PolicyError(f"{module} has no {cls!r}") from error
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        raise PolicyError(
            f"this policy needs {error.name}: pip install 'vla-sim[vla]', on CPython 3.11 or newer"
        ) from error


def _made(cls: Any, name: str) -> Policy:
    missing = [part for part in ("reset", "act", "spec") if not hasattr(cls, part)]
    if missing or not isinstance(cls, type):
        raise PolicyError(
            f"{name} is no policy: it lacks {', '.join(missing) or 'a class'} (see vla_sim.policies.base.Policy)"
        )
    return cls()


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
