"""CPU of one second of evaluation: snapshot bytes in, judgements out.

    python benchmarks/evaluator/evaluator.py [--seconds 60]

Each second every arm answers more rows: 1,000 (a fast window closes in every arm every second), and every tenth second
a medium window closes too. "Still" has nothing to say; in "drift" a quarter of all lines are drifted, so that every
window is put into words; "idle" has no traffic. Figures are process CPU, all threads: the median second, the worst
second, and how much of it is reading the snapshots.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle.manifest import Distributions, MonitorConfig, NumericReference
from kedge.kernel.contract import NUMERIC_SLOTS, Layout, NumericFeature, Tensor
from kedge.kernel.snapshot import Counts
from kedge.kernel.state import state_of
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle

ARMS = ("live", "control", "canary", "shadow")
ROWS = 1000
BINS = 20


def bundle(features: int) -> Bundle:
    """What the evaluator reads of a bundle of numeric features in 20 equal bins."""
    edges = tuple(np.linspace(-2, 2, BINS + 1).tolist())
    counts = (2000,) * BINS + (0,) * (NUMERIC_SLOTS - BINS)
    references = tuple(
        NumericReference(name=f"f{i}", edges=edges, center=0.0, scale=1024.0, counts=counts) for i in range(features)
    )
    layout = Layout(
        (Tensor("x", features),),
        tuple(NumericFeature(r.name, 0, i, edges, scale=1024.0) for i, r in enumerate(references)),
    )
    made: Any = SimpleNamespace(
        id="a" * 64,
        name="wide",
        version="1",
        distributions=Distributions(rows=2000 * BINS, features=references),
        serving=SimpleNamespace(prediction=None, monitor=MonitorConfig()),
        layout=lambda: layout,
    )
    return made


@dataclass
class Load:
    """Ever-growing snapshots of every arm."""

    frame: Frame
    drifted: int

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(1)
        state = state_of(self.frame.layout)
        self.words = {arm: np.zeros(state.words, np.int64) for arm in ARMS}
        self.bounds = np.tile([-2.0, 2.0], state.bounds // 2)
        self.even, self.tilted = np.full(BINS, 1 / BINS), np.arange(1, BINS + 1) / np.arange(1, BINS + 1).sum()

    def serve(self) -> None:
        for words in self.words.values():
            words[0] += ROWS
            words[2] += ROWS
            for i, side in enumerate(self.frame.sides):
                shape = self.tilted if i < self.drifted else self.even
                words[side.place.start : side.place.start + BINS] += self.random.multinomial(ROWS, shape)

    def snapshots(self) -> dict[str, bytes]:
        return {
            arm: Counts(self.frame.layout, words.copy(), self.bounds).to_bytes() for arm, words in self.words.items()
        }


def run(features: int, kind: str, seconds: int) -> tuple[float, float, float]:
    """Median, worst and reading alone, in milliseconds."""
    frame = Frame.of(bundle(features))
    load = Load(frame, features // 4 if kind == "drift" else 0)
    now = 1e6
    evaluator = Evaluator(lambda: now, Panes(lambda: now), lambda _: frame)
    costs, reading = [], []
    for _ in range(seconds):
        now += 1.0
        if kind != "idle" or now < 1e6 + 4:
            load.serve()
        given = load.snapshots()

        def read(given: dict[str, bytes] = given) -> dict[Key, Counts]:
            start = time.process_time()
            parsed = {Key("a" * 64, arm): Counts.parse(data, frame.layout) for arm, data in given.items()}
            reading.append(time.process_time() - start)
            return parsed

        start = time.process_time()
        evaluator.tick(read)
        costs.append(time.process_time() - start)
    return 1e3 * float(np.median(costs)), 1e3 * max(costs[3:]), 1e3 * float(np.median(reading))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="seconds of evaluation a row")
    seconds = parser.parse_args().seconds
    print("| features x arms | traffic | median ms a second | worst ms | of it reading |")
    print("|---|---|---|---|---|")
    for features in (32, 1000):
        for kind in ("idle", "still", "drift"):
            median, worst, reading = run(features, kind, seconds)
            print(f"| {features} x {len(ARMS)} | {kind} | {median:.1f} | {worst:.1f} | {reading:.1f} |")


if __name__ == "__main__":
    main()
