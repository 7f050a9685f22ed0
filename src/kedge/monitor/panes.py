"""Panes: what was counted in each stretch of time, in bounded memory; sums of panes are windows.

What is kept are the running totals at the end of each pane: the sum of any panes in a row is one subtraction, and two
panes become one by forgetting the total between them.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from kedge.errors import SnapshotError
from kedge.kernel.snapshot import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

CAPACITY: Final = 720
"""Panes kept. The newer half stays at full resolution (an hour of 10 s panes); older ones grow coarser, none goes."""


class Key(NamedTuple):
    """Whose counts: a bundle id and the arm it answered as, such as ``live``."""

    bundle: str
    arm: str


@dataclass(frozen=True)
class Pane:
    """A stretch of time with traffic, in seconds since 1970, and the totals at its end.

    Snapshots are mostly zeros, so they are kept compressed. A key that counted nothing shares its bytes with the pane
    before.
    """

    start: float
    end: float
    totals: Mapping[Key, bytes]


@dataclass(frozen=True)
class Window:
    """A sum of panes. `counts` is None where nothing was counted; then both times are 0.

    Minima and maxima are those since the start, which bound the window's.
    """

    start: float
    end: float
    counts: Counts | None


class Panes:
    """A ring of panes, fed with ever-growing counts. Thread-safe.

    Args:
        clock: seconds since 1970.
        capacity: panes to keep, at least 4.
    """

    def __init__(self, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._panes: list[Pane] = []
        self._given: dict[Key, Counts] = {}
        self._totals: dict[Key, Counts] = {}
        self._last = clock()

    def __len__(self) -> int:
        return len(self._panes)

    def take(self, read: Callable[[], Mapping[Key, Counts]]) -> None:
        """Close a pane now. `read` gives everything counted since the server started, by bundle and arm.

        Time without traffic takes no pane. Counts that shrank were reset, and are taken as new.
        """
        with self._lock:
            now, given = self._clock(), read()
            stored = dict(self._panes[-1].totals) if self._panes else {}
            changed = False
            for key, counts in given.items():
                change = _change(counts, self._given.get(key))
                if change.words.any():
                    changed = True
                    before = self._totals.get(key)
                    self._totals[key] = change if before is None else before + change
                    stored[key] = zlib.compress(self._totals[key].to_bytes(), 1)
            self._given = dict(given)
            if changed:
                self._panes.append(Pane(self._last, now, stored))
                if len(self._panes) > self._capacity:
                    self._thin()
            self._last = now

    def window(self, keys: Collection[Key], since: float = 0.0) -> Window:
        """The sum of every pane that ends after `since` (seconds since 1970), over `keys`, which share one bundle."""
        with self._lock:
            first = bisect.bisect_right(self._panes, since, key=lambda pane: pane.end)
            panes = self._panes[first:]
            before = self._panes[first - 1].totals if first else {}
            totals = {key: self._totals[key] for key in keys if key in self._totals}
        busy = []
        last = before
        for pane in panes:
            if any(pane.totals.get(key) is not last.get(key) for key in keys):
                busy.append(pane)
            last = pane.totals
        if not busy:
            return Window(0.0, 0.0, None)
        sums = [
            total - Counts.parse(zlib.decompress(before[key]), total.layout) if key in before else total
            for key, total in totals.items()
        ]
        counts = sums[0]
        for other in sums[1:]:
            counts = counts + other
        return Window(busy[0].start, busy[-1].end, counts)

    def _thin(self) -> None:
        """Join neighbours among the older half, two by two."""
        old = len(self._panes) // 2 // 2 * 2
        self._panes[:old] = [
            dataclasses.replace(self._panes[i + 1], start=self._panes[i].start) for i in range(0, old, 2)
        ]


def _change(now: Counts, before: Counts | None) -> Counts:
    if before is None:
        return now
    try:
        return now - before
    except SnapshotError:
        return now
