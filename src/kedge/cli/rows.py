"""Rows of a file as the inputs of a model: reading, mapping columns by name, and writing answers back."""

from __future__ import annotations

import json
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


def read(path: Path) -> pa.Table:
    """Read a table: Parquet, CSV with a header, or JSON (a list of objects, or one object a line).

    Raises:
        ConfigError: the suffix is another, or the content is not of that kind.
    """
    check_suffix("--input", path)
    try:
        if path.suffix == ".parquet":
            return pa.parquet.read_table(path)
        if path.suffix == ".csv":
            return pa.csv.read_csv(path)
        return pa.Table.from_pylist(_objects(path))
    except (pa.ArrowException, ValueError) as error:
        raise ConfigError(f"'{path}' cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from error


def check_suffix(flag: str, path: Path) -> None:
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


def inputs(table: pa.Table, model: ModelMetadata, columns: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """The arrays a model asks for.

    An input takes the column of its name. A model with one [N, F] input takes F columns in order: those of `columns`,
    or all of the file's.

    Args:
        table: all rows.
        model: the server's metadata.
        columns: for a [N, F] input, which columns and in which order.

    Raises:
        ConfigError: columns are missing, too many, or hold values the input cannot take.
    """
    names = table.column_names
    only = model.inputs[0]
    if len(model.inputs) == 1 and only.name not in names:
        chosen = list(columns) or names
        _require(chosen, names, model.name)
        width = int(np.prod(only.shape[1:])) if len(only.shape) > 1 else 1
        if width > 0 and len(chosen) != width:
            raise ConfigError(
                f"model '{model.name}' takes [N, {width}] in '{only.name}', the input has {len(chosen)} columns "
                f"({_list(chosen)}); choose {width} of them, in the model's order, with --columns a,b,..."
            )
        matrix = np.stack([_array(table[name], only, name) for name in chosen], axis=-1)
        return {only.name: matrix.reshape(len(table), *only.shape[1:]) if width > 0 else matrix}
    if columns:
        raise ConfigError(f"--columns is for models with one [N, F] input; '{model.name}' takes its inputs by name")
    _require([spec.name for spec in model.inputs], names, model.name)
    return {spec.name: _shaped(_array(table[spec.name], spec, spec.name), spec) for spec in model.inputs}


def _require(wanted: Sequence[str], names: Sequence[str], model: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(f"model '{model}' needs columns the input has not: {_list(missing)}; it has: {_list(names)}")


def _list(names: Sequence[str], most: int = 12) -> str:
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
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            raise ValueError("it holds text")
        plain = column.to_numpy()
        if dtype.kind in "iu" and plain.dtype.kind == "f" and not (plain == np.rint(plain)).all():
            raise ValueError("it holds fractions")
        with np.errstate(invalid="raise", over="raise"):
            array = np.asarray(plain).astype(dtype)
        if dtype.kind in "iu" and not (array == plain).all():
            raise ValueError(f"it holds values outside {spec.dtype}")
    except (ValueError, TypeError, FloatingPointError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"column '{name}' does not fit input '{spec.name}' of {spec.dtype}: {reason}") from error
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
    """Write a table as its suffix says; JSON one object a line."""
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8")
