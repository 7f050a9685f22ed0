"""A bounded uniform sample of recent rows."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Row = dict[str, "NDArray[Any]"]


class Reservoir:
    """A uniform sample of all rows offered since the last turn, and what was kept before it while there are fewer.

    Li's Algorithm L (1994): how many rows to skip until the next one taken is drawn, so a row not taken costs nothing.
    Every `horizon` rows the sampling starts over and replaces the old sample slot by slot, so that the rows are recent.

    Args:
        rows: how many to keep.
        size: bytes to keep; where rows are large, fewer are kept.
        horizon: rows after which sampling starts over.
        seed: of the sampling.
    """

    def __init__(self, rows: int, size: int, *, horizon: int = 1_000_000, seed: int | None = None) -> None:
        self._capacity = rows
        self._size = size
        self._horizon = horizon
        self._random = random.Random(seed)  # noqa: S311  sampling, not secrecy
        self._rows: list[Row] = []
        self._restart()

    def _restart(self) -> None:
        self._seen = 0
        self._filled = 0
        self._next = 0
        self._weight = 1.0

    def offer(self, names: Sequence[str], tensors: Sequence[NDArray[Any]], rows: int) -> None:
        """Offer `rows` rows: for each tensor its name and an array of that first extent. Taken rows are copied."""
        end = self._seen + rows
        while self._next < end:
            at = self._next - self._seen
            self._take({name: array[at : at + 1].copy() for name, array in zip(names, tensors, strict=True)})
        self._seen = end
        if self._seen >= self._horizon:
            self._restart()

    def rows(self) -> tuple[Row, ...]:
        """The sample, each row a mapping of tensor name to an array of first extent 1."""
        return tuple(self._rows)

    def _take(self, row: Row) -> None:
        if not self._rows:
            bytes_a_row = max(1, sum(array.nbytes for array in row.values()))
            self._capacity = max(1, min(self._capacity, self._size // bytes_a_row))
        if self._filled < self._capacity:
            slot = self._filled
            self._filled += 1
        else:
            slot = self._random.randrange(self._capacity)
        if slot < len(self._rows):
            self._rows[slot] = row
        else:
            self._rows.append(row)
        if self._filled < self._capacity:
            self._next += 1
            return
        self._weight *= math.exp(math.log(1.0 - self._random.random()) / self._capacity)
        self._next += 1 + int(math.log(1.0 - self._random.random()) / math.log1p(-min(self._weight, 1.0 - 1e-12)))
