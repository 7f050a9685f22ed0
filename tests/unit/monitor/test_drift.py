"""Drift verdicts and their words, on counts of a real bundle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from kedge_testing import flights

from kedge.kernel.snapshot import Counts
from kedge.monitor import drift
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Window
from kedge.monitor.verdict import Cause, Verdict
from kedge.stats import js_distance, psi_corrected
from kedge.stats.sensitivity import minimum_window

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle
    from kedge.monitor.report import Line, Report

Count = Callable[[pa.Table], Counts]


def report(bundle: Bundle, *counts: Counts) -> Report:
    return drift.report(Frame.of(bundle), [Window(10.0 * i, 10.0 * i + 10.0, part) for i, part in enumerate(counts)])


def line(report: Report, name: str) -> Line:
    return next(line for line in report.lines if line.name == name)


def replaced(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_effects_are_those_of_the_statistics_on_the_same_cells(bundle: Bundle, count: Count) -> None:
    counts = count(flights.rows(3000, 1, temp=45.0))
    found = line(report(bundle, counts), "temp")
    assert bundle.distributions is not None
    place = [feature.name for feature in bundle.layout().features].index("temp")
    reference, current = bundle.distributions.features[place].counts, counts.features[place].slots
    assert found.psi == pytest.approx(float(psi_corrected(reference, current)))
    assert found.js == pytest.approx(float(js_distance(reference, current, corrected=True)))
    assert (found.rows, found.reference_rows) == (3000, sum(reference))
    assert sum(cell.current for cell in found.cells) == 3000


def test_no_traffic_is_insufficient(bundle: Bundle) -> None:
    nothing = report(bundle)
    assert nothing.verdict is Verdict.INSUFFICIENT
    assert nothing.smallest_detectable_psi == 0.0
    assert all(found.psi == 0.0 for found in nothing.lines)


def test_one_row_less_than_the_minimum_window_is_not_judged(bundle: Bundle, count: Count) -> None:
    moved = flights.rows(2000, 2, temp=100.0)
    frame = Frame.of(bundle)
    place = next(i for i, side in enumerate(frame.sides) if side.name == "temp")
    needed = int(frame.needed[place])
    assert needed == minimum_window(int(np.count_nonzero(frame.sides[place].reference)), len(frame.sides))
    short = report(bundle, count(moved.slice(0, needed - 1)))
    assert line(short, "temp").verdict is Verdict.INSUFFICIENT
    assert line(report(bundle, count(moved.slice(0, needed))), "temp").verdict is Verdict.CRITICAL


def test_the_held_out_rest_of_the_reference_is_quiet(bundle: Bundle, count: Count) -> None:
    quiet = report(bundle, count(flights.rows(6000, 77)))
    assert {found.verdict for found in quiet.lines if found.subject == "feature"} == {Verdict.OK}
    assert all(found.reasons == () for found in quiet.lines if found.verdict is Verdict.OK)


def test_a_shift_is_told_with_both_means(bundle: Bundle, count: Count) -> None:
    up = line(report(bundle, count(flights.rows(4000, 3, temp=58.0))), "temp")
    assert up.verdict is Verdict.CRITICAL
    assert up.reasons[0].startswith("distribution moved up: mean 39.")
    assert "-> 5" in up.reasons[0]
    down = line(report(bundle, count(flights.rows(4000, 3, temp=22.0))), "temp")
    assert down.reasons[0].startswith("distribution moved down")


def test_a_wider_spread_with_the_same_mean_is_told_as_such(bundle: Bundle, count: Count) -> None:
    random = np.random.default_rng(5)
    table = replaced(flights.rows(4000, 3), "temp", random.normal(40.0, 30.0, 4000).astype(np.float32))
    wide = line(report(bundle, count(table)), "temp")
    assert wide.verdict is Verdict.CRITICAL
    assert wide.reasons[0].startswith("distribution widened: sd 1")


def test_a_column_gone_missing_is_told_first(bundle: Bundle, count: Count) -> None:
    table = replaced(flights.rows(4000, 3), "temp", np.full(4000, np.nan, np.float32))
    gone = line(report(bundle, count(table)), "temp")
    assert gone.verdict is Verdict.CRITICAL
    assert gone.reasons[0] == "missing share 1.9 % -> 100 %"


def test_a_broken_share_warns_below_the_effect_line(bundle: Bundle, count: Count) -> None:
    table = flights.rows(6000, 3)
    heat = table["temp"].to_numpy().copy()
    heat[::20] = np.nan
    found = line(report(bundle, count(replaced(table, "temp", heat))), "temp")
    assert found.psi < found.psi_warn
    assert found.verdict is Verdict.WARN
    assert found.reasons[0].startswith("missing share")


def test_categories_are_told_by_share(bundle: Bundle, count: Count) -> None:
    table = replaced(flights.rows(4000, 3), "carrier", ["DL" if i % 2 else "UA" for i in range(4000)])
    found = line(report(bundle, count(table)), "carrier")
    assert found.verdict is Verdict.CRITICAL
    assert any(reason.startswith("share of 'B6': 2") and reason.endswith("-> 0 %") for reason in found.reasons)


def test_no_line_lies_below_natural_variation(bundle: Bundle, count: Count) -> None:
    assert bundle.distributions is not None
    lively = bundle.distributions.model_copy(
        update={
            "features": tuple(f.model_copy(update={"natural_variation": 9.0}) for f in bundle.distributions.features)
        }
    )
    calm = dataclasses.replace(bundle, distributions=lively)
    found = line(report(calm, count(flights.rows(4000, 3, temp=58.0))), "temp")
    assert (found.natural_variation, found.psi_warn, found.psi_critical) == (9.0, 11.25, 11.25)
    assert found.verdict is Verdict.OK


def test_lines_come_worst_first(bundle: Bundle, count: Count) -> None:
    lines = report(bundle, count(flights.rows(4000, 3, temp=58.0))).lines
    assert [found.verdict.rank for found in lines] == sorted((found.verdict.rank for found in lines), reverse=True)
    assert lines[0].name == "temp"


def test_cells_stand_in_order_of_value_and_name_the_atoms(bundle: Bundle, count: Count) -> None:
    cells = [cell.label for cell in line(report(bundle, count(flights.rows(2000, 3))), "distance").cells]
    atoms = [label for label in cells if label.startswith("= ")]
    assert atoms == ["= 200", "= 500", "= 1000", "= 2500"]


def test_a_bundle_without_a_reference_has_no_lines(bundle: Bundle) -> None:
    bare = Frame.of(dataclasses.replace(bundle, distributions=None))
    assert bare.sides == ()
    assert drift.report(bare, ()).verdict is Verdict.INSUFFICIENT


def test_what_moved_in_one_half_only_is_no_drift(bundle: Bundle, count: Count) -> None:
    calm, moved = count(flights.rows(3000, 1)), count(flights.rows(3000, 2, temp=52.0))
    assert line(report(bundle, moved, moved), "temp").verdict is Verdict.CRITICAL
    assert line(report(bundle, moved, moved), "temp").windows == 2
    for halves, said in (((moved, calm), drift.HALF[0]), ((calm, moved), drift.HALF[1])):
        found = line(report(bundle, *halves), "temp")
        assert found.psi > found.psi_warn
        assert (found.verdict, found.reasons) == (Verdict.OK, (said,))
    assert line(report(bundle, calm, calm), "temp").reasons == ()
    alone = line(report(bundle, moved), "temp")
    assert alone.verdict is Verdict.CRITICAL
    assert alone.reasons[-1] == drift.ONE_WINDOW


def test_causes_tell_the_world_from_the_pipeline(bundle: Bundle, count: Count) -> None:
    warm = line(report(bundle, count(flights.rows(4000, 3, temp=52.0))), "temp")
    assert (warm.cause, warm.test) == (Cause.DATA, "drift")
    table = flights.rows(4000, 3)
    gone = replaced(table, "temp", np.full(4000, np.nan, np.float32))
    missing = line(report(bundle, count(gone)), "temp")
    assert (missing.cause, missing.test) == (Cause.PIPELINE, "missing")
    unseen = replaced(
        table, "carrier", ["ZZ" if i % 20 == 0 else c for i, c in enumerate(table["carrier"].to_pylist())]
    )
    carrier = line(report(bundle, count(unseen)), "carrier")
    assert carrier.cause is Cause.PIPELINE, "usable values lie as they did"
    assert line(report(bundle, count(table)), "carrier").cause is Cause.NONE


def test_a_claim_of_the_evaluator_names_the_pipeline(bundle: Bundle, count: Count) -> None:
    parts = [Window(0.0, 10.0, count(flights.rows(4000, 3, temp=4.0)))]
    frame = Frame.of(bundle)
    place = next(i for i, side in enumerate(frame.sides) if side.name == "temp")
    claimed = line(drift.report(frame, parts, {place: "looks like a change of unit"}), "temp")
    assert (claimed.cause, claimed.test) == (Cause.PIPELINE, "unit")
    assert claimed.reasons[0] == "looks like a change of unit"


@pytest.mark.filterwarnings("error")
def test_strange_traffic_divides_by_nothing(bundle: Bundle, count: Count) -> None:
    for temp in (math.nan, math.inf, -math.inf, 0.0, 1e30):
        table = flights.rows(1500, 3)
        table = replaced(table, "temp", np.full(1500, temp, np.float32))
        table = replaced(table, "carrier", [""] * 1500)
        for found in report(bundle, count(table)).lines:
            assert math.isfinite(found.psi)
            assert math.isfinite(found.js)
