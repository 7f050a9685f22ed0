"""What it takes to add up the counts of many replicas, and whether nothing is lost in it."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import model
from benchmarks.report import BenchmarkError, Table
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.cells import Cell
from kedge.plane.contract import Arm
from kedge.plane.evidence import WORDS, Evidence

if TYPE_CHECKING:
    from kedge.kernel.contract import Layout, Sketch

ARMS: Final = (Arm.LIVE, Arm.CONTROL, Arm.CANARY, Arm.PINNED)
MOST_ROWS: Final = 200
"""Of an arm of a replica; at least one."""
SEED: Final = 11
AT_ONCE: Final = 50
"""Snapshots in memory."""

Merged = dict[cells.CellKey, tuple[Counts, Evidence]]


def replicas(bundle: str, layout: Layout, count: int) -> Table:
    """Snapshots of `count` replicas, counted by the native kernel, added up, and compared with one count of all rows.

    Raises:
        BenchmarkError: they differ.
    """
    kernel = select("native")
    rng = np.random.default_rng(SEED)
    pool = model.rows(16_384)
    whole = {arm: kernel.sketch(layout) for arm in ARMS}
    evidence = {arm: Evidence.empty() for arm in ARMS}
    snapshots: list[bytes] = []
    merged: Merged = {}
    counted = size = packed = 0
    took = cpu = 0.0
    for number in range(count):
        found = {}
        for arm in ARMS:
            rows = pool[rng.integers(0, len(pool), int(rng.integers(1, MOST_ROWS + 1)))]
            score = rng.uniform(size=len(rows))
            scores = np.column_stack((1 - score, score))
            times = rng.integers(1_000, 10_000_000, len(rows))
            own = kernel.sketch(layout)
            for sketch in (own, whole[arm]):
                _count(sketch, rows, scores, times)
            told = Evidence(rng.integers(0, len(rows) + 1, WORDS))
            evidence[arm] += told
            found[bundle, arm, 1] = Cell(own.snapshot(), told.to_bytes())
            counted += len(rows)
        snapshots.append(cells.encode(found))
        size += len(snapshots[-1])
        packed += len(zlib.compress(snapshots[-1], 1))
        if len(snapshots) == AT_ONCE or number == count - 1:
            start, cpu_start = time.perf_counter(), time.process_time()
            merge(snapshots, layout, merged)
            took, cpu = took + time.perf_counter() - start, cpu + time.process_time() - cpu_start
            snapshots.clear()
    for arm in ARMS:
        counts, told = merged[bundle, arm, 1]
        if counts.to_bytes() != whole[arm].snapshot() or told != evidence[arm]:
            raise BenchmarkError(f"counts of {arm.name} were changed by merging")
    rows_of_table = (
        ("rows counted", counted),
        ("bytes a replica", size / count),
        ("bytes a replica, deflated", packed / count),
        ("MB in all", size / 1e6),
        ("seconds to read, check and add up", took),
        ("of them CPU", cpu),
        ("ms a replica", 1e3 * took / count),
    )
    note = "The sum equals, byte for byte, what one sketch an arm counted that was given every row."
    title = f"Snapshots of {count:,} replicas: 32 features, {len(ARMS)} arms"
    return Table(title, ("what", "found"), rows_of_table, (note,))


def merge(snapshots: list[bytes], layout: Layout, merged: Merged) -> None:
    """Add snapshots of one layout to what was merged of them."""
    for snapshot in snapshots:
        for key, cell in cells.decode(snapshot).items():
            counts, evidence = Counts.parse(cell.counts, layout), Evidence.parse(cell.evidence)
            if key in merged:
                before = merged[key]
                merged[key] = before[0] + counts, before[1] + evidence
            else:
                merged[key] = counts, evidence


def _count(sketch: Sketch, rows: np.ndarray, scores: np.ndarray, times: np.ndarray) -> None:
    sketch.observe([rows])
    sketch.observe_predictions((scores[:, 1] > 0.5).astype(np.int64), scores, probabilities=True)
    sketch.observe_batch(times, int(times[0]), len(rows))
    sketch.observe_status(0, len(rows))
