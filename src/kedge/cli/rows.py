"""Rows of a file as the inputs of a model: reading, mapping columns by name, and writing answers back."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from kedge.dtypes import DTYPES
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.client import ModelMetadata, TensorMetadata

SUFFIXES: Final = (".parquet", ".csv", ".json")
TEXT: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
MAX_REASON: Final = 200
"""Letters of a library's own words that an error quotes."""


def read(path: Path) -> pa.Table:
    """Read a table: Parquet, CSV with a header, or JSON (a list of objects, or one object a line).

    Raises:
        ConfigError: the suffix is another, the file cannot be read, or its content is not of that kind.
    """
    _check_suffix("--input", path)
    try:
        with path.open("rb"):  # pyarrow has no clean words for a file that is missing, and takes directories
            pass
        if path.suffix == ".parquet":
            table = pa.parquet.read_table(path)
        elif path.suffix == ".csv":
            table = pa.csv.read_csv(path)
        else:
            table = pa.Table.from_pylist(_objects(path))
        names = table.column_names  # raises where a name is not UTF-8
    except OSError as error:
        raise ConfigError(f"--input: cannot read '{path}': {_reason(error)}") from error
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise ConfigError(f"--input: '{path}' cannot be read as {path.suffix[1:]}: {_reason(error)}") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--input: '{path}' has more than one column {_list(twice)}")
    return table


def _reason(error: Exception) -> str:
    """A library's words as part of one line: without the file's own bytes, which it likes to quote."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    if columns := re.search(r"Expected (\d+) columns, got (\d+)", text):
        return f"its header has {columns[1]} columns, a row has {columns[2]}"
    line = next(iter(text.splitlines()), type(error).__name__)
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:MAX_REASON]


def check_target(path: Path) -> None:
    """Check, before any row is sent, that predictions can be written to a file; a retry would count all rows twice.

    Raises:
        ConfigError: the suffix is another, there is no such directory, or it or the file cannot be written.
    """
    _check_suffix("--output", path)
    if not path.parent.is_dir():
        what = "is no directory" if path.parent.exists() else "does not exist; make it first"
        raise ConfigError(f"--output: '{path.parent}' {what}")
    if path.is_dir():
        raise ConfigError(f"--output: '{path}' is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--output: '{path}' cannot be written; check the permissions")


def _check_suffix(flag: str, path: Path) -> None:
    """Raise `ConfigError` unless the file's suffix says which of the three kinds it is."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{flag}: '{path}' must end in {', '.join(SUFFIXES)}")


def _objects(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    rows = (
        json.loads(text)
        if text.lstrip().startswith("[")
        else [json.loads(line) for line in text.splitlines() if line.strip()]
    )
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError('every row must be an object such as {"column": value}')
    return rows


@dataclass(frozen=True)
class Matched:
    """Columns of a table as inputs of a model.

    Attributes:
        arrays: by input name.
        note: what the user should know about how columns were matched; empty where nothing is to be said.
    """

    arrays: dict[str, NDArray[Any]]
    note: str = ""


def inputs(
    table: pa.Table, model: ModelMetadata, columns: Sequence[str] = (), known: Sequence[str | None] = ()
) -> Matched:
    """The arrays a model asks for.

    An input takes the column of its name. A model with one [N, F] input takes F columns: those of `columns`; or those
    that the model knows by name, if the table has all of them; or all of the table's, in its order.

    Args:
        table: all rows.
        model: the server's metadata.
        columns: for a [N, F] input, which columns and in which order.
        known: for a [N, F] input, the names the model has for its columns, in order; None where it has none.

    Raises:
        ConfigError: columns are missing, too many, or hold values the input cannot take.
    """
    names = table.column_names
    only = model.inputs[0]
    if len(model.inputs) == 1 and only.name not in names:
        chosen, note = (list(columns), "") if columns else _choose(names, only.name, known)
        _require(chosen, names, model.name)
        width = int(np.prod(only.shape[1:])) if len(only.shape) > 1 else 1
        if width > 0 and len(chosen) != width:
            ours = "" if not known or None in known else f"; the model's are {_list(known)}"
            raise ConfigError(
                f"model '{model.name}' takes [N, {width}] in '{only.name}', the input has {len(chosen)} columns "
                f"({_list(chosen)}){ours}; give the file all columns of the model by name, or choose {width}, in the "
                "model's order, with --columns a,b,..."
            )
        matrix = np.stack([_array(table[name], only, name) for name in chosen], axis=-1)
        return Matched({only.name: matrix.reshape(len(table), *only.shape[1:]) if width > 0 else matrix}, note)
    if columns:
        raise ConfigError(f"--columns is for models with one [N, F] input; '{model.name}' takes its inputs by name")
    _require([spec.name for spec in model.inputs], names, model.name)
    return Matched({spec.name: _shaped(_array(table[spec.name], spec, spec.name), spec) for spec in model.inputs})


def _choose(names: list[str], tensor: str, known: Sequence[str | None]) -> tuple[list[str], str]:
    """The columns of a [N, F] input by the model's names for them, else all by position; and a note on which it was."""
    wanted = [name for name in known if name is not None]
    missing = [name for name in wanted if name not in names]
    if wanted and len(wanted) == len(known) and not missing:
        extra = [name for name in names if name not in wanted]
        return wanted, f"columns were matched by name; ignored: {_list(extra)}" if extra else ""
    if len(names) == 1:
        return names, ""
    why = f"the file has no {_list(missing)}" if missing else "the model does not name them all"
    return names, f"columns were taken for '{tensor}' by position, because {why}; --columns a,b,... sets their order"


def _require(wanted: Sequence[str], names: Sequence[str], model: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(f"model '{model}' needs columns the input has not: {_list(missing)}; it has: {_list(names)}")


def _list(names: Sequence[object], most: int = 12) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _array(column: pa.ChunkedArray, spec: TensorMetadata, name: str) -> NDArray[Any]:
    """One value a row (or one list a row, for wider inputs), in the input's dtype; null is NaN or the empty string."""
    if spec.dtype == "BYTES":
        values = [b"" if v is None else v if isinstance(v, bytes) else str(v).encode() for v in column.to_pylist()]
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    dtype = DTYPES[spec.dtype].numpy
    if column.null_count and dtype.kind != "f":
        row = column.is_null().to_pylist().index(True)
        raise ConfigError(
            f"column '{name}' has no value in row {row + 1}, and input '{spec.name}' is {spec.dtype}: fill it"
        )
    try:
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            return np.asarray(column.to_pylist(), dtype=dtype)
        if any(kind(column.type) for kind in TEXT):
            raise ValueError("it holds text")
        plain = column.to_numpy()
        if dtype.kind in "iu" and plain.dtype.kind == "f" and not (plain == np.rint(plain)).all():
            raise ValueError("it holds fractions")
        with np.errstate(invalid="raise", over="raise"):
            array = np.asarray(plain).astype(dtype)
        if dtype.kind in "iu" and not (array == plain).all():
            raise ValueError(f"it holds values outside {spec.dtype}")
    except (ValueError, TypeError, FloatingPointError, pa.ArrowException) as error:
        raise ConfigError(
            f"column '{name}' does not fit input '{spec.name}' of {spec.dtype}: {_reason(error)}"
        ) from error
    return array


def _shaped(array: NDArray[Any], spec: TensorMetadata) -> NDArray[Any]:
    """[N] as the input wants it: [N] or [N, 1, ...]."""
    if array.ndim == 1 and all(dim in (1, -1) for dim in spec.shape[1:]):
        return array.reshape(len(array), *(1 for _ in spec.shape[1:]))
    if array.ndim != len(spec.shape) or any(
        want not in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)
    ):
        raise ConfigError(f"column '{spec.name}' has shape {list(array.shape)}, the model takes {list(spec.shape)}")
    return array


def answers(outputs: Mapping[str, NDArray[Any]]) -> pa.Table:
    """Outputs as columns: ``name`` for one value a row, ``name_0``, ``name_1``, ... for more; BYTES as text."""
    columns: dict[str, Any] = {}
    for name, array in outputs.items():
        flat = array.reshape(len(array), -1)
        for i in range(flat.shape[1]):
            values = flat[:, i]
            text = [value.decode("utf-8", "replace") for value in values] if values.dtype == object else None
            columns[name if flat.shape[1] == 1 else f"{name}_{i}"] = values if text is None else text
    return pa.table(columns)


def write(table: pa.Table, path: Path) -> None:
    """Write a table as its suffix says; JSON one object a line. Raises `ConfigError` where the disk refuses."""
    try:
        if path.suffix == ".parquet":
            pa.parquet.write_table(table, path)
        elif path.suffix == ".csv":
            pa.csv.write_csv(table, path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output: cannot write '{path}': {_reason(error)}") from error
