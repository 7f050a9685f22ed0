"""river: one detector or sketch a feature, fed value by value, which is its only way.

python river_drift.py DIRECTORY REPEATS
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meter import FEATURES, Meter
from river import drift, sketch

if TYPE_CHECKING:
    from collections.abc import Callable

DETECTORS: tuple[tuple[str, Callable[[], object], int], ...] = (
    ("river, ADWIN", drift.ADWIN, 3_000),
    ("river, sketch.Histogram(20)", lambda: sketch.Histogram(max_bins=20), 2_000),
    ("river, PageHinkley", drift.PageHinkley, 3_000),
    ("river, KSWIN", lambda: drift.KSWIN(seed=7), 200),
)
"""Name, what is made for each feature, and rows."""


def main() -> None:
    meter = Meter()
    for name, make, rows in DETECTORS:
        each = [make() for _ in range(FEATURES)]
        data = meter.current[:rows].tolist()

        def update(start: int, _: int, each: list = each, data: list = data) -> None:
            for detector, value in zip(each, data[start], strict=True):
                detector.update(value)

        meter.count(name, update, rows, 1)
    meter.done()


if __name__ == "__main__":
    main()
