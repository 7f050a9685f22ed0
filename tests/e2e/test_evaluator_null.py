"""An A/A stream: traffic drawn from the reference's own distribution alarms within its budget, however long it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing import flights
from scipy.stats import poisson

from kedge.bundle.store import Store
from kedge.kernel.snapshot import Counts
from kedge.kernel.state import STATUS, state_of
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle
    from kedge.monitor.verdict import Judgement


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("null")
    return Store(root / "store").add(flights.bundle(root))


class Null:
    """Rows drawn from the reference's own proportions, as counts."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.frame = Frame.of(bundle)
        self.random = np.random.default_rng(seed)
        self.state = state_of(self.frame.layout)
        self.words = np.zeros(self.state.words, np.int64)
        self.bounds = np.tile([0.0, 100.0], self.state.bounds // 2)
        self.now = 1e6
        self.key = Key(bundle.id, "live")
        self.evaluator = Evaluator(lambda: self.now, Panes(lambda: self.now), lambda _: self.frame)

    def serve(self, rows: int, seconds: float) -> tuple[Judgement, ...]:
        self.words[0] += rows
        self.words[STATUS.start] += rows
        for side in self.frame.sides:
            shape = side.reference / side.reference.sum()
            counts = self.random.multinomial(rows, shape)
            self.words[side.place] += counts
            if side.moments is not None:
                at = np.zeros(len(shape))
                at[[slot for slot, _ in side.positions]] = [value for _, value in side.positions]
                q = np.rint((at - side.center) * side.scale)
                self.words[side.place.stop] += int((counts * q).sum())
                self.words[side.place.stop + 1] += int((counts * q * q).sum())
        self.now += seconds
        counts_now = Counts(self.frame.layout, self.words.copy(), self.bounds)
        return self.evaluator.tick(lambda: {self.key: counts_now})


def alarms(stream: Null, looks: int, rows: int, seconds: float) -> int:
    """Episodes: a thing that becomes a problem counts once until it is none."""
    begun, standing = 0, set[tuple[str, ...]]()
    for _ in range(looks):
        found = {item.key for item in stream.serve(rows, seconds)}
        begun += len(found - standing)
        standing = found
    return begun


def most(budget_a_day: float, seconds: float) -> int:
    """What a Poisson count of false alarms passes in one of a thousand runs."""
    return int(poisson.ppf(0.999, budget_a_day * seconds / 86400))


def test_a_hundred_thousand_rows_alarm_within_the_budget(bundle: Bundle) -> None:
    seconds = 100 * 60.0
    assert alarms(Null(bundle, 1), 100, 1000, 60.0) <= most(0.1, seconds)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pace", [1.0, 60.0, 3600.0])
def test_a_million_rows_alarm_within_the_budget(bundle: Bundle, seed: int, pace: float) -> None:
    """At a thousand rows a second (a quarter of an hour), a minute (16 hours) and an hour (six weeks, charts warm)."""
    assert alarms(Null(bundle, seed), 1000, 1000, pace) <= most(0.1, 1000 * pace)
