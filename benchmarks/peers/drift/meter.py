"""CPU and memory of a piece of work, as each of the programs beside this measures its own. No packages but numpy.

A program gets the directory with reference.npy and current.npy, [N, 32] float32, and how many times to repeat, and
prints one JSON list of rows.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 32
NAMES = [f"x{index:02}" for index in range(FEATURES)]


class Meter:
    """Rows of figures.

    Attributes:
        reference, current: [N, 32] float32.
    """

    def __init__(self) -> None:
        directory = Path(sys.argv[1])
        self.repeats = int(sys.argv[2])
        self.reference = np.load(directory / "reference.npy")
        self.current = np.load(directory / "current.npy")
        self._rows: list[dict[str, object]] = []

    def count(self, tool: str, work: Callable[[int, int], object], rows: int, batch: int) -> None:
        """Count `rows` rows of current, `batch` at a time: `work` is given the start and the end of each batch."""

        def all_of_it() -> None:
            for start in range(0, rows, batch):
                work(start, min(start + batch, rows))

        seconds, grown = self._time(all_of_it)
        self._rows.append(
            {
                "kind": "count",
                "tool": tool,
                "batch": batch,
                "rows": rows,
                "ns": seconds / (rows * FEATURES) * 1e9,
                "mb": grown,
            }
        )

    def report(self, tool: str, work: Callable[[], list[str]]) -> None:
        """Judge current against reference: `work` returns the features that it says have drifted."""
        found: list[list[str]] = []
        seconds, grown = self._time(lambda: found.append(work()))
        self._rows.append(
            {"kind": "report", "tool": tool, "seconds": seconds, "mb": grown, "drifted": sorted(found[-1])}
        )

    def done(self) -> None:
        print(json.dumps(self._rows))

    def _time(self, work: Callable[[], object]) -> tuple[float, float]:
        """The least CPU time of all threads, because other work only adds, and by how many MB the first run grew."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
        before = _peak_mb()
        costs = []
        grown = 0.0
        for turn in range(self.repeats):
            start = time.process_time()
            work()
            costs.append(time.process_time() - start)
            if turn == 0:
                grown = _peak_mb() - before
        return min(costs), grown


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
