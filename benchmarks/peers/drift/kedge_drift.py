"""Kedge's kernels, called from Python, and its drift report.

python kedge_drift.py DIRECTORY REPEATS BUNDLE
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from meter import Meter

from kedge.bundle.store import Store
from kedge.kernel.select import available, select
from kedge.kernel.snapshot import Counts
from kedge.monitor.drift import report
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Window

BATCHES = (1, 32, 1024)
SINGLE = 20_000
"""Rows, where they come one by one."""


def main() -> None:
    meter = Meter()
    x = meter.current
    with tempfile.TemporaryDirectory() as directory:
        bundle = Store(Path(directory)).add(Path(sys.argv[3]))
        layout = bundle.layout()
        frame = Frame.of(bundle)
        for name in ("native", "numba"):
            if name not in available():
                continue
            sketch = select(name).sketch(layout)
            for batch in (*BATCHES, len(x)):
                rows = min(len(x), SINGLE) if batch == 1 else len(x)
                meter.count(f"Kedge, {name} kernel", lambda a, b: sketch.observe([x[a:b]]), rows, batch)  # noqa: B023
        snapshots = []
        for half in (x[: len(x) // 2], x[len(x) // 2 :]):
            sketch = select("auto").sketch(layout)
            sketch.observe([half])
            snapshots.append(sketch.snapshot())

        def judge() -> list[str]:
            windows = [Window(i, i + 1, Counts.parse(data, layout)) for i, data in enumerate(snapshots)]
            return [line.name for line in report(frame, windows).lines if line.verdict.problem]

        meter.report("Kedge", judge)
    meter.done()


if __name__ == "__main__":
    main()
