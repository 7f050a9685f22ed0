"""A ratio with its range, as a cell of a table that can be read back."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL: Final = re.compile(r"([0-9.,]+) \(([0-9.,]+) - ([0-9.,]+)\)")


@dataclass(frozen=True)
class Ratio:
    """The median of several, the least and the greatest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Self:
        """Of pairs that were measured in the same turn.

        Raises:
            ValueError: there are not as many of one as of the other, or none.
        """
        if not above:
            raise ValueError("a ratio needs at least one pair")
        found = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(found), min(found), max(found))

    @classmethod
    def parse(cls, cell: str) -> Self:
        """What `str` made, to three digits. Raises `ValueError` for anything else."""
        match = CELL.fullmatch(cell)
        if match is None:
            raise ValueError(f"'{cell}' is not a ratio with its range")
        median, lowest, highest = (float(part.replace(",", "")) for part in match.groups())
        return cls(median, lowest, highest)

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.lowest)} - {_short(self.highest)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
