"""No label is lost once it was said to be taken, and none counts twice: kill -9 in the middle of reporting."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from kedge_testing.outcomes import BUNDLE, World, predictions

from kedge.monitor.outcomes.counts import Counts

PROGRAM = """
import sys, time
import numpy as np
from pathlib import Path
from kedge_testing.outcomes import World, predictions, slices

world, seed = World(Path(sys.argv[1])), int(sys.argv[2])
world.aim(slices=slices())
random = np.random.default_rng(seed)
while True:
    rows = random.integers(0, 20000, 200)
    key = random.integers(1, 2**20)
    opened = predictions(200, sequence=rows * 7, arm=rows % 3, label=rows % 2, slice=1 + rows % 12)
    found = world.take(opened, ["yes"] * 200)
    taken = [str(row) for row, status in zip(rows, found) if status == "accepted"]
    print(" ".join(taken), flush=True)
"""
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def test_kill_while_reporting(tmp_path: Path) -> None:
    said: list[int] = []
    for run in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\n{PROGRAM}",
             str(tmp_path / "outcomes.db"), str(run)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(5 + 7 * run):
            said += map(int, process.stdout.readline().split())
        time.sleep(0.011 * run)  # somewhere inside a turn
        process.kill()
        rest, _ = process.communicate(timeout=60)
        said += [int(text) for line in rest.splitlines(keepends=True) if line.endswith("\n") for text in line.split()]
    assert len(said) == len(set(said)), "each was said to be taken once"
    world = World(tmp_path / "outcomes.db")
    total = sum(world.database.cells(BUNDLE).values(), Counts.empty())
    accepted = world.database.statuses()[BUNDLE, "accepted"]
    assert total.labelled == accepted >= len(said)
    by_slice = world.database.slices.cells(BUNDLE)
    for numbers in (range(4), range(4, 7)):
        assert sum(counts.labelled for key, counts in by_slice.items() if key.slice in numbers) == accepted
    # A turn that was written but not said: at most one of 200 labels a kill.
    assert accepted <= len(said) + 3 * 200
    again = predictions(len(said), sequence=[7 * row for row in said])
    assert set(world.take(again, ["yes"] * len(said))) == {"duplicate"}
    everything = predictions(20000, sequence=[7 * row for row in range(20000)])
    assert world.take(everything, ["yes"] * 20000).count("accepted") == 20000 - accepted
    world.database.close()
