"""Files of strangers: what is checked before a byte of them is believed. Used by all readers of data sets.

A data set may come from anywhere. None of its files, names or declared sizes may lead out of its folder, stop the
program for ever, or fill the memory; whatever is wrong with one is a `UserError` that names the file.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vla_sim.core.errors import UserError

# What parsers of other people's files raise when the bytes are not what they expect.
PARSER_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    OSError,
    EOFError,
    SyntaxError,
    RuntimeError,  # with RecursionError and NotImplementedError
    MemoryError,
    struct.error,
    zlib.error,
)
# Pixels of one image: ten times what cameras of robots have.
MAX_PIXELS = 40_000_000
# Bytes of a file of metadata: a thousand episodes take about one MB.
MAX_JSON_BYTES = 256 * 2**20
# Characters of a name or a sentence.
MAX_TEXT = 4096
MAX_MESSAGE = 300
_POINTERS = (b"version https://git-lfs", b"/annex/objects/", b".git/annex/objects/")


@contextlib.contextmanager
def parsing(path: Path | str) -> Iterator[None]:
    """Around everything that interprets a file: what a parser stumbles over becomes one sentence.

    Raises:
        UserError: names the file.
    """
    try:
        yield
    except PARSER_ERRORS as error:
        raise UserError(f"{path}: cannot be read: {described(error)}") from error


def described(error: BaseException) -> str:
    """An exception in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"


def data_file(path: Path, root: Path | None = None) -> Path:
    """The path, if a regular file lies there that belongs to its data set.

    Args:
        path: the file.
        root: folder of the data set, which the file must not leave, not by a link either; None: wherever it is.

    Raises:
        UserError: missing, a folder, a pipe or device, a link out of the data set, or a pointer to a file that was
            not downloaded.
    """
    try:
        if root is not None and not _is_below(path, root):
            raise UserError(
                f"{path}: leads out of the data set, to {path.resolve()}; only files in its own folder are read: "
                "put the file there"
            )
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise UserError(f"{path}: is a link to a file that is not there; the data set is not complete") from error
        raise UserError(f"{path} is missing: no such file; the data set is not complete") from error
    except (OSError, ValueError, RuntimeError) as error:  # no permission; NUL or 300 characters in a name; link loops
        raise UserError(f"{str(path)!r}: cannot be opened: {described(error)}") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is a {_kind(mode)}, not a file")
    _refuse_pointer(path)
    return path


def _is_below(path: Path, root: Path) -> bool:
    where, home = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if where.is_relative_to(home):
        return True
    # In the download cache of the Hugging Face hub, snapshots/REVISION/* are links to files in blobs/.
    return root.absolute().parent.name == "snapshots" and where.parent == home.parents[1] / "blobs"


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "folder", stat.S_ISFIFO: "pipe", stat.S_ISSOCK: "socket"}
    return next((name for test, name in kinds.items() if test(mode)), "device")


def _refuse_pointer(path: Path) -> None:
    with parsing(path):
        if path.stat().st_size > 1024:
            return
        with path.open("rb") as file:
            start = file.read(64)
    if start.startswith(_POINTERS[0]):
        raise UserError(
            f"{path}: is a pointer of Git LFS, the data itself was not downloaded; `git lfs pull` in its folder gets it"
        )
    if start.startswith(_POINTERS[1:]):
        raise UserError(
            f"{path}: is a pointer of git-annex, the data itself was not downloaded; `git annex get` gets it"
        )


# --------------------------------------------------------------------------------------------------------------- sizes


def memory_limit() -> int:
    """Bytes that one episode may take: half of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):  # pragma: no cover  (not every system tells)
        return 4 * 2**30


def check_size(what: str, count: int) -> None:
    """Refuse what would not fit into the memory.

    Args:
        what: names file and part.
        count: bytes.

    Raises:
        UserError: more than `memory_limit`.
    """
    if count > memory_limit():
        raise UserError(f"{what} would take {count / 2**30:.1f} GiB, more than half of this machine's memory")


# ---------------------------------------------------------------------------------------------------------------- JSON


def read_json(path: Path, root: Path | None = None) -> Any:
    """The value that a JSON file holds.

    Raises:
        UserError: see `data_file`; or it is too large, damaged, or nested too deeply.
    """
    data_file(path, root)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UserError(f"{path}: has {path.stat().st_size} bytes, more than {MAX_JSON_BYTES} are not read")
    return parse_json(_text_of(path), path)


def read_json_lines(path: Path, root: Path | None = None) -> list[Any]:
    """The values of a file with one JSON value a line."""
    data_file(path, root)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UserError(f"{path}: has {path.stat().st_size} bytes, more than {MAX_JSON_BYTES} are not read")
    lines = _text_of(path).split("\n")
    return [parse_json(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _text_of(path: Path) -> str:
    with parsing(path):
        return path.read_text(encoding="utf-8")


def parse_json(text: Any, where: Path | str) -> Any:
    """The value of a JSON text.

    Raises:
        UserError: it is none, or nested so deeply that it cannot be parsed.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UserError(f"{where}: cannot be read: its values are nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: cannot be read: no valid JSON: {described(error)}") from error


def table_of(value: Any, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UserError: it is another value.
    """
    if not isinstance(value, Mapping):
        raise UserError(f"{what} must be a table, got {shown(value)}")
    return {str(key): entry for key, entry in value.items()}


def list_of(value: Any, what: str) -> list[Any]:
    """A JSON list.

    Raises:
        UserError: it is another value.
    """
    if not isinstance(value, list):
        raise UserError(f"{what} must be a list, got {shown(value)}")
    return value


def text_of(value: Any, what: str) -> str:
    """A name or sentence that can be written into any file.

    Raises:
        UserError: no text, too long, or with characters that no text file can hold.
    """
    if not isinstance(value, str):
        raise UserError(f"{what} must be text, got {shown(value)}")
    if len(value) > MAX_TEXT:
        raise UserError(f"{what} has {len(value)} characters, more than {MAX_TEXT} are not read")
    if "\0" in value or not _is_unicode(value):
        raise UserError(f"{what} holds characters that are no text: {shown(value)}")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def number_of(value: Any, what: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number in a range.

    Raises:
        UserError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise UserError(f"{what} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        bounds = f" between {least:g} and {most:g}" if math.isfinite(most) else f" of at least {least:g}"
        bounds = bounds if math.isfinite(least) else ""
        raise UserError(f"{what} must be a finite number{bounds}, got {shown(value)}")
    return number


def count_of(value: Any, what: str, *, least: int = 0, most: int = 2**53) -> int:
    """A whole number in a range; 3.0 is one.

    Raises:
        UserError: something else.
    """
    number = number_of(value, what, least=least, most=most)
    if number != int(number):
        raise UserError(f"{what} must be a whole number, got {shown(value)}")
    return int(value)


def plain_facts(value: Any, what: str) -> dict[str, Any]:
    """Plain facts about an episode: names with a text, a finite number, or yes or no each.

    Raises:
        UserError: something else, or a date that is none.
    """
    facts = table_of(value, what)
    for key, entry in facts.items():
        text_of(key, f"{what}: a name")
        if isinstance(entry, str):
            text_of(entry, f"{what}: {key}")
        elif not isinstance(entry, bool):
            number_of(entry, f"{what}: {key}")
    if facts.get("taken"):
        with parsing(f"{what}: taken"):
            datetime.fromisoformat(str(facts["taken"]))
    if "index" in facts:
        count_of(facts["index"], f"{what}: index", most=10**9)
    return facts


def shown(value: Any) -> str:
    """A value in a message: short, and with nothing that a terminal would obey."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except (ValueError, RecursionError):  # a number of 5,000 digits, a list of lists of lists ...
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


# -------------------------------------------------------------------------------------------------------------- arrays


def read_npy(path: Path, root: Path | None = None, *, mapped: bool = False) -> np.ndarray:
    """The numbers of a .npy file; its declared shape is compared with its size before memory is asked for.

    Args:
        path: the file.
        root: see `data_file`.
        mapped: leave them on the disk (`numpy.memmap`).

    Raises:
        UserError: see `data_file`; or it is damaged, or holds something else than numbers.
    """
    data_file(path, root)
    with parsing(path), path.open("rb") as file:
        start = file.read(8)
        if not start.startswith(b"\x93NUMPY"):
            raise UserError(f"{path}: cannot be read: is not a .npy file")
        form = "<H" if start[6:7] == b"\1" else "<I"
        (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
        header = ast.literal_eval(file.read(min(length, 4096)).decode("latin1"))
        shape, dtype = [count_of(n, f"{path}: shape") for n in header["shape"]], np.dtype(str(header["descr"]))
        if dtype.kind not in "fiub":
            raise UserError(f"{path}: must hold numbers, got {dtype}")
        size, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if size != held:
            raise UserError(f"{path}: declares {dtype} {shape}, {size} bytes, but holds {held}")
        order: Literal["C", "F"] = "F" if header["fortran_order"] else "C"
        if mapped and size:
            return np.memmap(path, dtype, "r", file.tell(), tuple(shape), order)
        check_size(f"{path}:", size)
        return np.fromfile(file, dtype).reshape(shape, order=order)


# -------------------------------------------------------------------------------------------------------------- images


def read_image(source: Path | bytes, where: Path | str, root: Path | None = None) -> np.ndarray:
    """A JPEG or PNG image: uint8 (height, width, 3) RGB; its size is checked before its pixels are decoded.

    Args:
        source: the file, or its content.
        where: names it in messages.
        root: see `data_file`.

    Raises:
        UserError: damaged, of another kind, or larger than any camera's.
    """
    from PIL import Image

    if isinstance(source, Path):
        data_file(source, root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
            image = Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=("JPEG", "PNG"))
        with image:
            check_pixels(image.width, image.height, where)
            return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise UserError(f"{where}: the image has more than {MAX_PIXELS} pixels, which is not read") from error
    except PARSER_ERRORS as error:
        raise UserError(f"{where}: the image is damaged: {described(error)}") from error


def check_pixels(width: int, height: int, where: Path | str) -> None:
    """Refuse images that no camera of a robot takes, before memory is asked for them.

    Raises:
        UserError: more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise UserError(f"{where}: the images have {width} x {height} pixels, more than {MAX_PIXELS} are not read")
