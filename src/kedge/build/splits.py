"""Which rows measure what: reference, calibration and evaluation; the last two held out where no file is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa

from kedge.build import tables
from kedge.bundle.manifest import DataSnapshot
from kedge.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.build.spec import DataSpec
    from kedge.build.tables import Data

HELD_OUT: Final = 0.2
"""Share of the reference's rows held out for calibration, and again for evaluation."""
SEED: Final = 20130101
MINIMUM_ROWS: Final = 50


@dataclass(frozen=True)
class Splits:
    """The rows to measure on.

    Attributes:
        reference: all rows of the reference file, in order of time where it has one. What inputs and predictions are
            compared with; parts that are held out of it stay in, for they are not fitted to anything.
        calibration: rows for reliability and conformal scores.
        evaluation: rows for metrics and golden rows. Disjoint from `calibration` where both are held out.
        snapshots: what is recorded of them.
    """

    reference: Data
    calibration: Data
    evaluation: Data
    snapshots: tuple[DataSnapshot, ...]


def read(spec: DataSpec, folder: Path) -> Splits:
    """Read the data a spec names, and hold out what it does not.

    With ``data.time`` the last fifth of the rows evaluates and the fifth before it calibrates; without, rows are drawn
    with a fixed seed.

    Raises:
        SpecError: a file or column is missing, unreadable or too small.
    """
    reference = tables.read(folder / spec.reference, spec.reference)
    rows = reference.table.num_rows
    if spec.time is not None:
        order = tables.time_order(reference, spec.time)
        reference = _take(reference, order)
    parts: dict[str, Data] = {}
    role: Literal["calibration", "evaluation"]
    for role in ("calibration", "evaluation"):
        uri = getattr(spec, role)
        if uri is not None:
            parts[role] = tables.read(folder / uri, uri)
    unsaid = [role for role in ("calibration", "evaluation") if role not in parts]
    if unsaid and rows < MINIMUM_ROWS:
        raise SpecError(
            f"data.reference: '{spec.reference}' has {rows} rows; at least {MINIMUM_ROWS} are needed to hold out "
            f"{' and '.join(unsaid)}"
        )
    drawn = np.arange(rows) if spec.time is not None else np.random.default_rng(SEED).permutation(rows)
    size = int(rows * HELD_OUT)
    for role, chosen in (("evaluation", drawn[rows - size :]), ("calibration", drawn[rows - 2 * size : rows - size])):
        if role not in parts:
            parts[role] = _take(reference, np.sort(chosen))
    held_out = {role: "reference" if role in unsaid else None for role in parts}
    snapshots = (
        _snapshot("reference", reference, spec.time, None),
        _snapshot("calibration", parts["calibration"], spec.time, held_out["calibration"]),
        _snapshot("evaluation", parts["evaluation"], spec.time, held_out["evaluation"]),
    )
    return Splits(reference, parts["calibration"], parts["evaluation"], snapshots)


def _take(data: Data, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Data:
    table = data.table.take(pa.array(rows)).combine_chunks()
    return tables.Data(table, data.uri, data.sha256, data.schema_sha256)


def _snapshot(
    role: Literal["reference", "calibration", "evaluation"], data: Data, time: str | None, held_out_of: str | None
) -> DataSnapshot:
    known = time if time in data.table.column_names else None
    first, last = tables.time_span(data, known)
    return DataSnapshot(
        role=role,
        uri=data.uri,
        sha256=data.sha256,
        rows=data.table.num_rows,
        schema_sha256=data.schema_sha256,
        time_min=first,
        time_max=last,
        held_out_of=held_out_of,
    )
