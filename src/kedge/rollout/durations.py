"""How long changes of what serves took: histograms in fixed memory."""

from __future__ import annotations

import bisect
import itertools
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLISH: Final = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 0.1, 1.0)
"""Upper bounds in seconds: a publish is to take less than a millisecond."""
LOAD: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The same for reading a model, its golden rows and its warm-up."""


class Durations:
    """Counts durations by size. Thread-safe.

    Args:
        bounds: ascending upper bounds, in seconds; what is longer than all is counted too.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        with self._lock:
            self._counts[bisect.bisect_left(self.bounds, seconds)] += 1
            self._sum += seconds

    def cumulative(self) -> tuple[list[int], float]:
        """How many were at most each bound, then how many there were; and the sum in seconds."""
        with self._lock:
            return list(itertools.accumulate(self._counts)), self._sum


class Timings:
    """Of one server, since it started.

    Attributes:
        publish: from the store of a route table until every shard picks from it.
        load: of a bundle that loaded, golden rows and warm-up included.
    """

    def __init__(self) -> None:
        self.publish = Durations(PUBLISH)
        self.load = Durations(LOAD)
