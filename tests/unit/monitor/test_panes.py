"""Panes lose no count, however they are thinned, and windows are their sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge_testing import flights

from kedge.monitor.panes import PANE_ROWS, Key, Packed, Panes

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


def test_packing_loses_nothing(batches: list[Counts]) -> None:
    packed = Packed.of(batches[-1])
    assert packed.counts(batches[-1].layout) == batches[-1]
    assert packed.size < len(batches[-1].to_bytes()) / 100, "snapshots are mostly zeros"


def test_a_pane_ends_after_ten_seconds_or_a_thousand_rows(
    batches: list[Counts], count: Callable[[pa.Table], Counts]
) -> None:
    clock = Clock()
    panes = Panes(clock)
    total = batches[0]
    for _ in range(9):
        clock.now += 1
        panes.advance(lambda: {KEY: batches[0]})
    assert len(panes) == 0
    clock.now += 1
    assert panes.advance(lambda: {KEY: batches[0]})[KEY] == batches[0]
    assert len(panes) == 1
    total = total + count(flights.rows(PANE_ROWS, 3))
    clock.now += 1
    panes.advance(lambda: {KEY: total})
    assert len(panes) == 2


def test_a_window_is_parted_into_halves_of_like_rows(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    assert panes.halves([KEY]) == ()
    totals = feed(panes, clock, batches[:1])
    assert [part.counts for part in panes.halves([KEY])] == totals, "one pane cannot be parted"
    clock = Clock()
    panes = Panes(clock)
    totals = feed(panes, clock, batches)
    first, second = panes.halves([KEY])
    assert first.counts is not None
    assert second.counts is not None
    assert (first.counts + second.counts).words.tolist() == totals[-1].words.tolist()
    assert abs(first.counts.rows - second.counts.rows) <= max(batch.rows for batch in batches)
    assert first.end == second.start


def test_an_idle_half_is_no_half(batches: list[Counts]) -> None:
    clock = Clock()
    panes = Panes(clock)
    clock.now += 10
    panes.take(lambda: {KEY: batches[0]})
    other = batches[1]
    for batch in batches[2:7]:
        clock.now += 10
        other = other + batch
        panes.take(lambda now=other: {KEY: batches[0], OTHER: now})
    assert len(panes.halves([KEY])) == 1
    assert len(panes.halves([KEY, OTHER])) == 2


def test_memory_is_bounded_in_bytes(batches: list[Counts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge.monitor.panes.CAPACITY_BYTES", 3 * Packed.of(batches[-1]).size)
    clock = Clock()
    panes = Panes(clock)
    totals = feed(panes, clock, batches)
    assert len(panes) == 4
    window = panes.window([KEY])
    assert window.counts is not None
    assert (window.counts.words == totals[-1].words).all()
