"""What is sent: the half of winter that the reference does not know, April to December, and three broken pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from kedge.demo import flights, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WINTER: Final = 3
"""Months."""
CLEAN: Final = 10_000
"""Flights before a planted fault..."""
BROKEN: Final = 4_000
"""...and with it."""
STRANGER: Final = "ZZ"
ONE_IN: Final = 50
"""Flights of an airline that the model never saw."""


@dataclass(frozen=True)
class Part:
    """Flights that are sent in one go and asked about as one.

    Attributes:
        name: a month, or the fault.
        rows: raw features, in order of time.
        before: flights in order that come first and are not asked about; empty but for faults.
        broken: the feature that the fault is planted in; empty where there is none.
    """

    name: str
    rows: pa.Table
    before: pa.Table
    broken: str = ""


def halves(year: pa.Table) -> tuple[pa.Table, pa.Table]:
    """January to March as two halves: the first two days of every four, to be the reference, and the others.

    Four has no factor in common with seven, so both halves have as many Mondays as Sundays.
    """
    winter = flights.window(year, *train.WINTER)
    known = winter[flights.TIME].to_numpy().astype("datetime64[D]").astype(np.int64) % 4 < 2
    return winter.filter(pa.array(known)), winter.filter(pa.array(~known))


def months(year: pa.Table, held_out: pa.Table) -> Iterator[Part]:
    """January to December; of winter what was held out."""
    for month, name in enumerate(MONTHS, 1):
        table = held_out if month <= WINTER else year
        rows = flights.window(table, date(2013, month, 1), date(2013 + month // 12, month % 12 + 1, 1))
        yield Part(name, rows, rows.slice(0, 0))


def faults(held_out: pa.Table) -> Iterator[Part]:
    """Held-out winter days, each time with one thing broken after `CLEAN` flights."""
    before, rows = held_out.slice(CLEAN, CLEAN), held_out.slice(2 * CLEAN, BROKEN)
    for name, (broken, break_it) in FAULTS.items():
        yield Part(name, break_it(rows), before, broken)


def celsius(rows: pa.Table) -> pa.Table:
    """Temperatures in another unit."""
    return _changed(rows, "temp", ((rows["temp"].to_numpy() - 32) / 1.8).astype(np.float32))


def gone(rows: pa.Table) -> pa.Table:
    """A column that is not filled any more."""
    return _changed(rows, "humid", np.full(len(rows), np.nan, np.float32))


def stranger(rows: pa.Table) -> pa.Table:
    """One flight of every `ONE_IN` is of an unseen carrier."""
    known = enumerate(rows["carrier"].to_pylist())
    return _changed(rows, "carrier", [STRANGER if place % ONE_IN == 0 else name for place, name in known])


FAULTS: Final[dict[str, tuple[str, Callable[[pa.Table], pa.Table]]]] = {
    "temp in Celsius": ("temp", celsius),
    "humid gone": ("humid", gone),
    "carrier ZZ": ("carrier", stranger),
}


def _changed(rows: pa.Table, name: str, values: object) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, from_pandas=True))
