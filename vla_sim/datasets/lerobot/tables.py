"""Parquet tables of strangers: a little at a time, never more than fits into the memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.untrusted import PARSER_ERRORS, check_size, data_file, described, memory_limit

# Rows that are decoded at a time: of numbers, and of texts and images, which may be large.
ROWS, LARGE_ROWS = 65536, 64
# Rows of one file: a year at 30 frames a second is twenty times as much as a file should have.
MAX_ROWS = 50_000_000


def need_arrow() -> Any:
    """Whether pyarrow and pandas are there, which the optional extra `data` brings; returns pyarrow.

    Raises:
        UserError: one is not installed.
    """
    try:
        import pandas  # noqa: F401
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f'LeRobot data sets need {error.name}: install it with pip install "vla-sim[data]"') from error
    return pyarrow


def read_table(path: Path, root: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> Any:
    """Some columns of a parquet file as an Arrow table.

    Args:
        path: the file.
        root: of the data set, which it must not leave.
        columns: their names; all must be there.
        optional: columns that may be missing.

    Raises:
        UserError: it is missing, has no footer or is damaged, lacks a column, or would not fit into the memory.
    """
    pyarrow = need_arrow()
    with _opened(path, root) as file:
        there = file.schema_arrow.names
        for name in columns:
            if there.count(name) != 1:
                raise UserError(f"{path}: has {'no' if name not in there else 'two'} columns {name!r}")
        wanted = [*columns, *(name for name in optional if there.count(name) == 1)]
        batches, taken = [], 0
        for batch in _batches(file, wanted, range(file.num_row_groups), path):
            taken += batch.nbytes
            if taken > memory_limit() // 4:
                raise UserError(f"{path}: its columns would take more than a quarter of this machine's memory")
            batches.append(batch)
        schema = pyarrow.schema([file.schema_arrow.field(name) for name in wanted])
        return pyarrow.Table.from_batches(batches, schema.remove_metadata()).select(wanted)


def read_cells(path: Path, root: Path, column: str, first: int, count: int) -> Iterator[Any]:
    """The values of some rows of one column, one at a time.

    Args:
        path: the file.
        root: of the data set, which it must not leave.
        column: its name.
        first: number of the first row in the file.
        count: how many.

    Raises:
        UserError: see `read_table`.
    """
    with _opened(path, root) as file:
        if file.schema_arrow.names.count(column) != 1:
            raise UserError(f"{path}: has no column {column!r}")
        row = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row + rows > first and row < first + count:
                for batch in _batches(file, [column], [group], path):
                    inside = slice(max(0, first - row), max(0, min(batch.num_rows, first + count - row)))
                    for i in range(inside.start, inside.stop):
                        yield batch.column(0)[i].as_py()
                    row += batch.num_rows
                    if row >= first + count:
                        return
            else:
                row += rows


@contextlib.contextmanager
def _opened(path: Path, root: Path) -> Iterator[Any]:
    """The open file; whatever Arrow complains about becomes one sentence."""
    pyarrow = need_arrow()
    data_file(path, root)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if not 0 <= file.metadata.num_rows <= MAX_ROWS:
                raise UserError(f"{path}: declares {file.metadata.num_rows} rows, more than {MAX_ROWS} are not read")
            yield file
    except pyarrow.ArrowInvalid as error:
        if any(sign in str(error) for sign in ("magic bytes", "too small", "0 bytes")):
            raise UserError(
                f"{path} has no parquet footer: its recording was stopped before it was finished "
                "(LeRobot writes the footer in finalize()); record it again or leave the data set out"
            ) from error
        raise UserError(f"{path} is damaged: {described(error)}") from error
    except (*PARSER_ERRORS, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {described(error)}") from error


def _batches(file: Any, columns: Sequence[str], groups: Sequence[int], path: Path) -> Iterator[Any]:
    """Some row groups piece by piece; numbers are counted before they are decoded."""
    types = [file.schema_arrow.field(name).type for name in columns]
    size = ROWS if all(_is_numeric(kind) for kind in types) else LARGE_ROWS
    for group in groups:
        chunks = file.metadata.row_group(group)
        named = [chunks.column(i) for i in range(chunks.num_columns)]
        values = sum(chunk.num_values for chunk in named if chunk.path_in_schema.startswith(tuple(columns)))
        check_size(f"{path}: its columns", 8 * values)
    yield from file.iter_batches(batch_size=size, row_groups=list(groups), columns=list(columns))


def _is_numeric(kind: Any) -> bool:
    pyarrow = need_arrow()
    while pyarrow.types.is_nested(kind) and kind.num_fields == 1:
        kind = kind.field(0).type
    return bool(pyarrow.types.is_primitive(kind))


def numbers(column: Any, width: int, what: str) -> np.ndarray:
    """A column of numbers, or of lists of them: (rows, width).

    Args:
        column: of an Arrow table.
        width: how many numbers each row must have.
        what: names it in messages.

    Raises:
        UserError: it holds something else, nothing in places, or lists of another length.
    """
    pyarrow = need_arrow()
    values, rows = column.combine_chunks(), len(column)
    if isinstance(values, pyarrow.ChunkedArray):  # older versions keep an empty column so
        values = pyarrow.concat_arrays(values.chunks) if values.num_chunks else pyarrow.array([], column.type)
    while pyarrow.types.is_nested(values.type) and values.null_count == 0 and hasattr(values, "flatten"):
        if pyarrow.types.is_struct(values.type):
            break
        values = values.flatten()
    numeric = pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_boolean
    if not any(is_kind(values.type) for is_kind in numeric):
        raise UserError(f"{what} must be numbers, got {column.type}")
    if values.null_count:
        raise UserError(f"{what} has rows without a value")
    if len(values) != rows * width:
        raise UserError(f"{what} must have {width} numbers a row, got {len(values)} in {rows} rows")
    _check_lengths(column, width, what)
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(rows, width)


def _check_lengths(column: Any, width: int, what: str) -> None:
    """Lists of unequal length can have the right number of values in all."""
    import pyarrow.compute as compute

    pyarrow = need_arrow()
    kind = column.type
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)):
        return
    if pyarrow.types.is_nested(kind.value_type):
        lengths = compute.list_value_length(column)
        if len(lengths) and compute.min(lengths).as_py() != compute.max(lengths).as_py():
            raise UserError(f"{what} must have {width} numbers a row, some rows have more than others")
        return
    if not compute.all(compute.equal(compute.list_value_length(column), width)).as_py() and len(column):
        raise UserError(f"{what} must have {width} numbers a row, some rows have more or less")
