"""Reading TOML with errors that name the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vla_sim.core.config import one_line
from vla_sim.core.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Files that people write; one that is larger was not meant.
MAX_BYTES = 4_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UserError: it cannot be read or is not TOML; names file and line.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read {path}: {'Is a directory' if path.is_dir() else 'not a plain file'}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"cannot read {str(path)!r}: {error}") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES} bytes: not a file that was written by hand")
    try:
        return tomllib.loads(content.decode())
    except RecursionError as error:
        raise UserError(f"{path} is not valid TOML: its tables are nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {one_line(error)}") from error
