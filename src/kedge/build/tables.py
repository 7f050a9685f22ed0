"""Data files as Arrow tables, with the identity that is recorded of them."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from kedge.bundle import canonical
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_HASH_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Data:
    """One data file.

    Attributes:
        table: its rows.
        uri: as the spec names it.
        sha256: of the file's bytes.
        schema_sha256: of the names and types of its columns, in canonical JSON.
    """

    table: pa.Table
    uri: str
    sha256: str
    schema_sha256: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read(path: Path, uri: str) -> Data:
    """Read a Parquet, CSV or Arrow (Feather, IPC file or stream) file, known by its ending.

    Args:
        path: where it stands.
        uri: how the spec names it, for messages and the record.

    Raises:
        SpecError: it is missing, unreadable, empty, has a column twice, or is of no known kind.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SpecError(f"data file '{uri}': unknown ending '{path.suffix}'; known are {', '.join(_READERS)}")
    try:
        digest = sha256_of(path)
        table = reader(path)
    except OSError as error:  # pyarrow raises OSError for damaged files too, without an errno
        reason = error.strerror if error.errno else _first_line(error)
        raise SpecError(f"cannot read data file '{uri}': {reason}") from error
    except (pa.ArrowException, ValueError) as error:
        raise SpecError(f"cannot read data file '{uri}': {_first_line(error)}") from error
    names = table.column_names
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise SpecError(f"data file '{uri}': column '{twice}' appears twice")
    if table.num_rows == 0:
        raise SpecError(f"data file '{uri}' has no rows")
    schema = [[field.name, str(field.type)] for field in table.schema]
    return Data(table, uri, digest, hashlib.sha256(canonical.encode(schema)).hexdigest())


def column(data: Data, name: str, said: str) -> pa.ChunkedArray:
    """A column by name. `said` is the place in the spec that asks for it, for the message. Raises `SpecError`."""
    if name not in data.table.column_names:
        have = ", ".join(data.table.column_names[:12]) + (", ..." if data.table.num_columns > 12 else "")
        close = difflib.get_close_matches(name, data.table.column_names, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise SpecError(f"{said}: data file '{data.uri}' has no column '{name}'; it has {have}{hint}")
    return data.table[name]


def time_order(data: Data, name: str) -> NDArray[np.int64]:
    """Positions of the rows in order of the column `name`, ties in the file's order. Raises `SpecError`."""
    values = column(data, name, "data.time")
    kind = values.type
    if not (pa.types.is_temporal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        values = _as_timestamps(values, data.uri, name)
    if values.null_count:
        raise SpecError(f"data.time: column '{name}' of '{data.uri}' has {values.null_count} empty values")
    order: NDArray[np.int64] = np.argsort(values.to_numpy(), kind="stable").astype(np.int64)
    return order


def time_span(data: Data, name: str | None) -> tuple[str | None, str | None]:
    """The first and last value of the time column, as text, or two Nones where there is none."""
    if name is None:
        return None, None
    ends = pc.min_max(data.table[name])
    return tuple(_time_text(ends[key]) for key in ("min", "max"))  # type: ignore[return-value]


def _time_text(value: Any) -> str:
    plain = value.as_py()
    return plain.isoformat() if hasattr(plain, "isoformat") else str(plain)


def _as_timestamps(values: pa.ChunkedArray, uri: str, name: str) -> pa.ChunkedArray:
    try:
        return values.cast(pa.timestamp("us"))
    except pa.ArrowException as error:
        raise SpecError(f"data.time: column '{name}' of '{uri}' is {values.type}, not a time or a number") from error


def _read_csv(path: Path) -> pa.Table:
    return pa.csv.read_csv(path)


def _read_arrow(path: Path) -> pa.Table:
    with path.open("rb") as file:
        is_file = file.read(6) in (b"ARROW1", b"FEA1\0\0")
    if is_file:
        return pa.feather.read_table(path)
    with pa.ipc.open_stream(path) as stream:
        return stream.read_all()


def _read_parquet(path: Path) -> pa.Table:
    return pa.parquet.read_table(path, partitioning=None)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


_READERS: Final[dict[str, Callable[[Path], pa.Table]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".ipc": _read_arrow,
}
