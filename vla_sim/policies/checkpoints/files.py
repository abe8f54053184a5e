"""Where a checkpoint and its `config.json` lie, and what identifies them. No torch: commands ask before they load."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vla_sim.policies.folders import CONFIG, PolicyError, PolicyFolder
from vla_sim.policies.identity import file_sha256

SUFFIXES = (".pt", ".pth", ".ckpt")
KIND = "checkpoint"
# Files of a backbone's folder that decide what a policy does.
SOURCE_FILES = ("config.json", "tokenizer.json", "model.safetensors")


def is_checkpoint(path: Path) -> bool:
    """Whether it is a file that may hold a checkpoint and has a `config.json` of type "checkpoint" beside it."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    config = path.parent / CONFIG
    return config.is_file() and PolicyFolder.read(path.parent).kind == KIND


def folder_of(path: Path) -> PolicyFolder:
    """The policy folder around a checkpoint; of several in it this one, whichever its config names."""
    folder = PolicyFolder.read(path.parent)
    return PolicyFolder(folder.path, {**folder.config, "file": path.name})


def file_of(folder: PolicyFolder) -> Path:
    """The checkpoint that a folder's config names.

    Raises:
        PolicyError: it names none, one elsewhere, or one that is not there.
    """
    name = folder.get("file", str)
    path = folder.path / name
    if Path(name).name != name or path.suffix.lower() not in SUFFIXES:
        raise folder.error(f"file must name a {', '.join(SUFFIXES)} file in the same folder, got {name!r}")
    if not path.is_file():
        others = sorted(p.name for p in folder.path.iterdir() if p.suffix.lower() in SUFFIXES)
        raise folder.error(f"file {name!r} is not there; the folder has {', '.join(others) or 'no checkpoint'}")
    return path


def source_folder(folder: PolicyFolder, source: str) -> Path | None:
    """The local folder of a backbone, relative to the checkpoint's or absolute; None: it is a hub id."""
    path = (folder.path / Path(source).expanduser()).resolve()
    return path if path.is_dir() else None


def content_hash(folder: PolicyFolder) -> str:
    """sha256 over the checkpoint, its name and its backbones' local folders, hex."""
    path = file_of(folder)
    digest = hashlib.sha256(path.name.encode())
    digest.update(bytes.fromhex(file_sha256(path)))
    for name, source in _sources(folder):
        digest.update(f"{name}={source}".encode())
        for part in _source_files(folder, source):
            digest.update(part.name.encode() + bytes.fromhex(file_sha256(part)))
    return digest.hexdigest()


def hashed_files(folder: PolicyFolder) -> list[Path]:
    """The files that `content_hash` covers."""
    return [file_of(folder), *(part for _, source in _sources(folder) for part in _source_files(folder, source))]


def _sources(folder: PolicyFolder) -> list[tuple[str, str]]:
    sources = folder.config.get("backbones")
    return sorted((str(k), str(v)) for k, v in sources.items()) if isinstance(sources, dict) else []


def _source_files(folder: PolicyFolder, source: str) -> list[Path]:
    local = source_folder(folder, source)
    return [local / file for file in SOURCE_FILES if (local / file).is_file()] if local else []


def no_config(path: Path) -> PolicyError:
    """What to say about a checkpoint without a `config.json`."""
    return PolicyError(
        f"{path} is a pickle, which can run any code when it is read: refused, nothing was executed. "
        f"To drive a checkpoint of yours, write its {CONFIG} first: python -m vla_sim.policies.checkpoints {path} "
        f"--write (see docs/checkpoints.md). Anything else: convert it to safetensors and name its folder"
    )
