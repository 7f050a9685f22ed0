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

import numpy as np

from kedge.errors import SnapshotError
from kedge.kernel.snapshot import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kedge.kernel.contract import Layout

CAPACITY: Final = 720
"""Panes kept. The newer half stays at full resolution (an hour of 10 s panes); older ones grow coarser, none goes."""
CAPACITY_BYTES: Final = 64 * 1024 * 1024
"""Of all panes together; a server with many wide models keeps fewer."""
PANE_SECONDS: Final = 10.0
PANE_ROWS: Final = 1000
"""A pane ends after so much time or so many rows, whichever comes first."""


class Key(NamedTuple):
    """Whose counts: a bundle id and the arm it answered as, such as ``live``."""

    bundle: str
    arm: str


@dataclass(frozen=True)
class Packed:
    """Counts without their zeros, which are most of them, compressed."""

    places: bytes
    values: bytes
    bounds: bytes

    @classmethod
    def of(cls, counts: Counts) -> Packed:
        """Pack counts."""
        places = np.flatnonzero(counts.words)
        return cls(
            zlib.compress(places.astype("<u4").tobytes(), 1),
            zlib.compress(counts.words[places].astype("<i8").tobytes(), 1),
            zlib.compress(counts.bounds.astype("<f8").tobytes(), 1),
        )

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.places) + len(self.values) + len(self.bounds)

    def counts(self, layout: Layout) -> Counts:
        """The counts again."""
        words = Counts.zero(layout).words.copy()
        words[np.frombuffer(zlib.decompress(self.places), "<u4")] = np.frombuffer(zlib.decompress(self.values), "<i8")
        return Counts(layout, words, np.frombuffer(zlib.decompress(self.bounds), "<f8").astype(np.float64))


@dataclass(frozen=True)
class Pane:
    """A stretch of time with traffic, in seconds since 1970, and the totals at its end.

    A key that counted nothing shares its totals with the pane before.
    """

    start: float
    end: float
    totals: Mapping[Key, Packed]


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
        self._lock = threading.RLock()
        self._panes: list[Pane] = []
        self._bytes = 0
        self._given: dict[Key, Counts] = {}
        self._totals: dict[Key, Counts] = {}
        self._changed: set[Key] = set()
        self._rows = 0
        self._start = clock()

    def __len__(self) -> int:
        return len(self._panes)

    def take(self, read: Callable[[], Mapping[Key, Counts]]) -> None:
        """Close a pane now. `read` gives everything counted since the server started, by bundle and arm.

        Time without traffic takes no pane. Counts that shrank were reset, and are taken as new.
        """
        with self._lock:
            self._observe(self._clock(), read())
            self._close()

    def advance(self, read: Callable[[], Mapping[Key, Counts]]) -> dict[Key, Counts]:
        """Take in what was counted, and close the pane if it is old or full.

        Returns:
            Totals that never shrink, whatever was reset in between.
        """
        with self._lock:
            now = self._clock()
            self._observe(now, read())
            if now - self._start >= PANE_SECONDS or self._rows >= PANE_ROWS:
                self._close()
            return dict(self._totals)

    def window(self, keys: Collection[Key], since: float = 0.0) -> Window:
        """The sum of every pane that ends after `since` (seconds since 1970), over `keys`, which share one bundle."""
        with self._lock:
            first = bisect.bisect_right(self._panes, since, key=lambda pane: pane.end)
            return self._sum(keys, first, len(self._panes))

    def halves(self, keys: Collection[Key], since: float = 0.0) -> tuple[Window, ...]:
        """`window` as two disjoint windows running, of rows as equal as the panes allow; one if there is but one pane.

        Empty where nothing was counted.
        """
        with self._lock:
            first = bisect.bisect_right(self._panes, since, key=lambda pane: pane.end)
            whole = self._sum(keys, first, len(self._panes))
            if whole.counts is None:
                return ()
            low, high = first, len(self._panes)
            while high - low > 1:
                middle = (low + high) // 2
                counts = self._sum(keys, first, middle).counts
                low, high = (middle, high) if counts is None or 2 * counts.rows < whole.counts.rows else (low, middle)
            parts = [self._parted(keys, first, at) for at in (low, high) if first < at < len(self._panes)]
            good = [part for part in parts if all(window.counts is not None for window in part)]
            return max(good, key=lambda part: min(_rows(window) for window in part), default=(whole,))

    def _parted(self, keys: Collection[Key], first: int, at: int) -> tuple[Window, ...]:
        return (self._sum(keys, first, at), self._sum(keys, at, len(self._panes)))

    def forget(self, bundle: str) -> None:
        """Drop what a bundle counted; it counts no more."""
        with self._lock:
            for known in (self._given, self._totals):
                for key in [key for key in known if key.bundle == bundle]:
                    del known[key]
            self._changed = {key for key in self._changed if key.bundle != bundle}
            self._panes = [
                dataclasses.replace(pane, totals={k: v for k, v in pane.totals.items() if k.bundle != bundle})
                for pane in self._panes
            ]

    def _sum(self, keys: Collection[Key], first: int, end: int) -> Window:
        """Panes `first` to before `end`."""
        panes = self._panes[first:end]
        before: Mapping[Key, Packed] = self._panes[first - 1].totals if first else {}
        busy, last = [], before
        for pane in panes:
            if any(pane.totals.get(key) is not last.get(key) for key in keys):
                busy.append(pane)
            last = pane.totals
        if not busy:
            return Window(0.0, 0.0, None)
        sums = []
        for key in keys:
            if key in last:
                total = last[key].counts(self._totals[key].layout)
                sums.append(total - before[key].counts(total.layout) if key in before else total)
        counts = sums[0]
        for other in sums[1:]:
            counts = counts + other
        return Window(busy[0].start, busy[-1].end, counts)

    def _observe(self, now: float, given: Mapping[Key, Counts]) -> None:
        for key, counts in given.items():
            change = _change(counts, self._given.get(key))
            if change.words.any():
                before = self._totals.get(key)
                self._totals[key] = change if before is None else before + change
                self._changed.add(key)
                self._rows += change.rows
        self._given = dict(given)
        self._now = now
        if not self._changed:
            self._start = now

    def _close(self) -> None:
        if self._changed:
            stored = dict(self._panes[-1].totals) if self._panes else {}
            for key in self._changed:
                stored[key] = Packed.of(self._totals[key])
                self._bytes += stored[key].size
            self._panes.append(Pane(self._start, self._now, stored))
            while len(self._panes) > self._capacity or (self._bytes > CAPACITY_BYTES and len(self._panes) > 4):
                self._thin()
        self._changed, self._rows, self._start = set(), 0, self._now

    def _thin(self) -> None:
        """Join neighbours among the older half, two by two."""
        old = len(self._panes) // 2 // 2 * 2
        self._panes[:old] = [
            dataclasses.replace(self._panes[i + 1], start=self._panes[i].start) for i in range(0, old, 2)
        ]
        kept = {id(packed): packed.size for pane in self._panes for packed in pane.totals.values()}
        self._bytes = sum(kept.values())


def _rows(window: Window) -> int:
    return window.counts.rows if window.counts is not None else 0


def _change(now: Counts, before: Counts | None) -> Counts:
    if before is None:
        return now
    try:
        return now - before
    except SnapshotError:
        return now
