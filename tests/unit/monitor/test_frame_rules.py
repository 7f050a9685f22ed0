"""Measuring a thousand lines at once says what measuring one by one says; the rules ask for effect and significance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from kedge_testing import flights
from scipy.stats import binom

from kedge.kernel.snapshot import Counts
from kedge.monitor.frame import Frame, natural_share
from kedge.monitor.measure import measure
from kedge.monitor.rules import Window, fault_level, judge
from kedge.monitor.verdict import Span
from kedge.stats import clopper_pearson_upper, g_test, js_distance, psi, psi_corrected

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle

Count = Callable[[pa.Table], Counts]


@pytest.fixture(scope="module")
def frame(bundle: Bundle) -> Frame:
    return Frame.of(bundle)


def at(frame: Frame, name: str) -> int:
    return next(i for i, side in enumerate(frame.sides) if side.name == name)


def window(frame: Frame, counts: Counts, level: float = 1e-6) -> Window:
    return judge(frame, counts.words, Span(0.0, 60.0, counts.rows), level)


def with_missing(table: pa.Table, share: float) -> pa.Table:
    heat = np.random.default_rng(4).normal(40, 12, table.num_rows).astype(np.float32)
    heat[: round(share * table.num_rows)] = np.nan
    return table.set_column(0, "temp", pa.array(heat))


def test_every_line_is_measured_as_if_it_were_alone(frame: Frame, count: Count) -> None:
    counts = count(flights.rows(3000, 1, temp=45.0))
    found = measure(frame, counts.words)
    for line, side in enumerate(frame.sides):
        current = side.current(counts.words)
        tested = g_test(side.reference, current)
        assert found.rows[line] == current.sum()
        assert found.psi[line] == pytest.approx(float(psi_corrected(side.reference, current)))
        assert found.js[line] == pytest.approx(float(js_distance(side.reference, current, corrected=True)))
        assert found.statistic[line] == pytest.approx(float(tested.statistic))
        assert found.p_value[line] == pytest.approx(float(tested.p_value))


def test_a_shift_of_a_numeric_feature_has_its_size_in_deviations(frame: Frame, count: Count) -> None:
    moved = measure(frame, count(flights.rows(20_000, 1, temp=46.0)).words)
    assert moved.w1[at(frame, "temp")] == pytest.approx(0.5, abs=0.07), "6 degrees of a deviation of 12"
    assert moved.w1[at(frame, "carrier")] == 0.0, "categories have no order"


def test_natural_share_solves_the_two_cell_psi() -> None:
    p, natural = np.array([0.001, 0.1, 0.5]), np.array([0.5, 0.1, 2.0])
    q = natural_share(p, natural)
    two_cells = (q - p) * (np.log(q / p) - np.log((1 - q) / (1 - p)))
    np.testing.assert_allclose(two_cells, natural, rtol=1e-6)
    np.testing.assert_allclose(natural_share(p, np.zeros(3)), p)
    joined = psi(np.array([9.0e6, 0.6e6, 0.4e6]), np.array([6.0e6, 3.6e6, 0.4e6]))
    assert float(psi(np.array([9.0e6, 1.0e6]), np.array([6.0e6, 4.0e6]))) <= float(joined), "joining cells hides"


def test_the_null_rate_of_a_fault_is_the_bound_of_the_reference(frame: Frame) -> None:
    test = next(
        i
        for i, kind in enumerate(frame.faults.kinds)
        if kind == "missing" and frame.faults.lines[i] == at(frame, "temp")
    )
    events = round(frame.faults.reference[test] * 6000)
    assert frame.faults.upper[test] == pytest.approx(float(clopper_pearson_upper(events, 6000)))


def test_a_fault_is_found_at_its_level_and_not_before(frame: Frame, count: Count) -> None:
    place = at(frame, "temp")
    test = next(i for i in np.flatnonzero(frame.faults.lines == place) if frame.faults.kinds[i] == "missing")
    level = 1e-6 * len(frame.faults.kinds)
    fewest = int(binom.isf(1e-6, 1000, frame.faults.upper[test])) + 1
    for missing, broken in ((fewest - 1, False), (fewest + 1, True)):
        found = window(frame, count(with_missing(flights.rows(1000, 2), missing / 1000)), level)
        assert found.measures.events[test] == missing
        assert bool(found.broken[test]) is broken


def test_a_level_spends_the_budget_of_a_day() -> None:
    assert fault_level(0.1, 86400.0) == 0.01, "never above one in a hundred"
    assert fault_level(0.1, 864.0) == pytest.approx(0.001)
    assert fault_level(0.1, 0.0) == fault_level(0.1, 1.0) == pytest.approx(0.1 / 86400)


def test_significance_without_effect_moves_nothing(frame: Frame, count: Count) -> None:
    slight = window(frame, count(flights.rows(60_000, 3, temp=41.0)))
    place = at(frame, "temp")
    assert slight.measures.p_value[place] < 1e-5
    assert not slight.moved[place]


def test_an_effect_below_natural_variation_moves_nothing(frame: Frame, count: Count) -> None:
    counts = count(flights.rows(4000, 3, temp=52.0))
    place = at(frame, "temp")
    assert window(frame, counts).moved[place]
    assert window(frame, counts).measures.w1[place] > 0.2
    lively = dataclasses.replace(frame, natural=np.full_like(frame.natural, 5.0), warn=np.maximum(frame.warn, 5.0))
    assert not window(lively, counts).moved[place], "not even by the Wasserstein distance"


def test_one_risen_cell_moves_a_line_that_psi_would_pass(frame: Frame, count: Count) -> None:
    table = flights.rows(6000, 3)
    names = table["carrier"].to_pylist()
    changed = ["AA" if name == "UA" and i % 7 == 0 else name for i, name in enumerate(names)]
    found = window(frame, count(table.set_column(2, "carrier", pa.array(changed))))
    place = at(frame, "carrier")
    assert 0.03 <= found.measures.rise[place] < 0.08
    assert found.measures.psi[place] < 0.1
    assert found.moved[place]
    assert not found.far[place]
