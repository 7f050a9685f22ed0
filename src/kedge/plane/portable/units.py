"""Units: what of a rollout was randomised, each counted once a period however often it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from kedge.errors import Code
from kedge.kernel.latency import batch_size_bucket
from kedge.plane.evidence import FILTER_BITS, FIRST, JUDGED, KINDS, REQUEST, SCORES, UNITS, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_MASK: Final = FILTER_BITS - 1
_KIND_OF_CODE: Final[dict[int, Kind]] = {
    Code.RESOURCE_EXHAUSTED.value: "errors",
    Code.INTERNAL.value: "errors",
    Code.UNAVAILABLE.value: "errors",
    Code.DEADLINE_EXCEEDED.value: "timeouts",
    Code.INVALID_ARGUMENT.value: "refusals",
}
"""This plane never answers UNKNOWN or DATA_LOSS."""
_NO_UNIT: Final = (Code.CANCELLED.value, Code.UNAUTHENTICATED.value)


class Keyed(NamedTuple):
    """A sticky key in its period.

    Attributes:
        period: which one, as `contract.Route` numbers them.
        place: the key's hash. Its high bits choose the arm; its low ones, independent of those, are its bit in the
            filters and in prediction ids.
    """

    period: int
    place: int


class UnitFilter:
    """Which units of a rollout came already: a bitmap of the period in force for each counter, made when needed."""

    def __init__(self) -> None:
        self._seen: list[bytearray | None] = []
        self._begin(-2)  # none: periods are counted from 0, and the one before 0 must not pass for it

    def enter(self, period: int) -> None:
        """A key was drawn in this period: what the period before had seen is forgotten with the first of them.

        One drawn just before the boundary changes nothing; a period longer past is of a clock that was set back.
        """
        if period not in (self._period, self._period - 1):
            self._begin(period)

    def is_first(self, unit: Keyed | None, counter: int) -> bool:
        """Has this unit not come for this counter before. A request without a key (None) always is the first.

        Args:
            unit: whom the request belongs to. One of another period than that in force counts no more.
            counter: 0 for requests that were answered, 1 + index among `evidence.KINDS` for events.
        """
        if unit is None:
            return True
        if unit.period != self._period:
            return False
        seen = self._seen[counter]
        if seen is None:
            seen = self._seen[counter] = bytearray(FILTER_BITS // 8)
        bit = unit.place & _MASK
        at, mask = bit >> 3, 1 << (bit & 7)
        if seen[at] & mask:
            return False
        seen[at] |= mask
        return True

    def _begin(self, period: int) -> None:
        self._period = period
        self._seen = [None] * (1 + len(KINDS))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """How the requests of a route with several arms are compared.

    Attributes:
        units: of the rollout, shared by the arms and by its epochs.
        slow_ns: see `contract.Route`.
    """

    units: UnitFilter
    slow_ns: tuple[int, ...]

    def line(self, rows: int) -> int:
        """Nanoseconds above which a batch of so many rows is slow; 0 where that cannot be told."""
        return self.slow_ns[batch_size_bucket(rows)] if self.slow_ns and rows else 0

    def count(
        self,
        words: NDArray[np.int64],
        unit: Keyed | None,
        events: Sequence[Kind] = (),
        slot: int | None = None,
        *,
        judged: bool = False,
    ) -> None:
        """Count one answered request.

        Args:
            words: of the arm's evidence.
            unit: its key in its period, or None.
            events: what it was.
            slot: of its first row's score.
            judged: it ran in a batch of a size with a line.
        """
        first = self.units.is_first(unit, 0)
        if first:
            words[UNITS] += 1
            words[JUDGED] += judged
            if slot is not None:
                words[SCORES.start + slot] += 1
        for kind in events:
            index = KINDS.index(kind)
            if first:
                words[REQUEST.start + index] += 1
            if self.units.is_first(unit, 1 + index):
                words[FIRST.start + index] += 1

    def count_failure(self, words: NDArray[np.int64], unit: Keyed | None, code: int) -> None:
        """Count one answer that is not OK, by its gRPC status."""
        if code not in _NO_UNIT:
            kind = _KIND_OF_CODE.get(code)
            self.count(words, unit, () if kind is None else (kind,))
