"""Panes lose no count, however they are thinned, and windows are their sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge_testing import flights

from kedge.monitor.panes import Key, Panes

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from kedge.kernel.snapshot import Counts

KEY = Key("a" * 64, "live")
OTHER = Key("a" * 64, "pinned")


@pytest.fixture(scope="module")
def batches(count: Callable[[pa.Table], Counts]) -> list[Counts]:
    return [count(flights.rows(10 + i, seed=i)) for i in range(12)]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def feed(panes: Panes, clock: Clock, batches: list[Counts]) -> list[Counts]:
    """One pane a batch, ten seconds each; returns the growing totals."""
    total, totals = None, []
    for batch in batches:
        total = batch if total is None else total + batch
        totals.append(total)
        clock.now += 10
        panes.take(lambda now=total: {KEY: now})
    return totals


def test_a_window_is_the_sum_of_its_panes(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    totals = feed(panes, clock, batches)
    everything = panes.window([KEY])
    assert everything.counts is not None
    assert (everything.counts.words == totals[-1].words).all()
    assert (everything.start, everything.end) == (1000.0, 1120.0)
    recent = panes.window([KEY], since=1090.0)
    assert recent.counts is not None
    assert recent.counts.rows == sum(batch.rows for batch in batches[-3:])
    assert (recent.start, recent.end) == (1090.0, 1120.0)


def test_thinning_bounds_the_ring_and_loses_nothing(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock, capacity=4)
    totals = feed(panes, clock, batches)
    assert len(panes) <= 4
    window = panes.window([KEY])
    assert window.counts is not None
    assert (window.counts.words == totals[-1].words).all()
    last = panes.window([KEY], since=1110.0)
    assert last.counts is not None
    assert last.counts.rows == batches[-1].rows, "the newest panes keep their resolution"


def test_time_without_traffic_takes_no_pane(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    feed(panes, clock, batches[:1])
    for _ in range(5):
        clock.now += 10
        panes.take(lambda: {KEY: batches[0]})
    assert len(panes) == 1
    assert panes.window([KEY], since=1015.0).counts is None


def test_arms_are_kept_apart_and_can_be_summed(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    clock.now += 10
    panes.take(lambda: {KEY: batches[0], OTHER: batches[1]})
    one, both = panes.window([KEY]).counts, panes.window([KEY, OTHER]).counts
    assert one is not None
    assert both is not None
    assert (one.rows, both.rows) == (batches[0].rows, batches[0].rows + batches[1].rows)
    assert panes.window([Key("b" * 64, "live")]).counts is None


def test_counts_that_were_reset_are_taken_as_new(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    feed(panes, clock, batches[:3])
    clock.now += 10
    panes.take(lambda: {KEY: batches[0]})
    window = panes.window([KEY])
    assert window.counts is not None
    assert window.counts.rows == sum(b.rows for b in batches[:3]) + batches[0].rows
