"""Ratios, tables and generated sections of the peers suite: arithmetic that nobody would notice being wrong."""

from __future__ import annotations

import pytest
from benchmarks.load.field import NATIVE, PORTABLE
from benchmarks.peers import drift_cost, section
from benchmarks.peers.ratio import Ratio
from benchmarks.peers.serving import OVER, RATIOS
from benchmarks.report import Table

COUNTS = [
    {"kind": "count", "tool": drift_cost.BASE, "batch": 1024, "rows": 1000, "ns": 2.0, "mb": 0.5},
    {"kind": "count", "tool": "whylogs, why.log(DataFrame)", "batch": 1000, "rows": 1000, "ns": 500.0, "mb": 7.0},
    {"kind": "count", "tool": "whylogs, track(DataFrame)", "batch": 1024, "rows": 1000, "ns": 900.0, "mb": 0.0},
]


def document(*rows: tuple[str, ...]) -> dict:
    columns = ("what", "rate wide", "rate deep", "cpu wide", "cpu deep", "latency")
    table = Table(RATIOS, columns, rows, ("a note",)).json()
    machine = {"date": "today", "machine": "this one", "software": "some"}
    return {"machine": machine, "suites": {"peers": {"other_work_cores": 0.25, "tables": [table]}}}


def test_a_ratio_is_taken_within_each_turn():
    assert Ratio.of([10.0, 40.0, 90.0], [1.0, 2.0, 3.0]) == Ratio(20.0, 10.0, 30.0)


def test_a_ratio_refuses_turns_that_do_not_match():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Ratio.of([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least one pair"):
        Ratio.of([], [])


@pytest.mark.parametrize("ratio", [Ratio(0.42, 0.07, 1.25), Ratio(12.5, 9.99, 99.9), Ratio(1234.0, 100.0, 56789.0)])
def test_a_ratio_can_be_read_back_from_its_cell(ratio):
    assert Ratio.parse(str(ratio)) == ratio


@pytest.mark.parametrize("cell", ["", "1.0", "1.0 (0.5)", "1.0 (0.5 - 2.0) x"])
def test_other_cells_are_no_ratios(cell):
    with pytest.raises(ValueError, match="is not a ratio"):
        Ratio.parse(cell)


def test_counting_is_compared_with_the_native_kernel_at_as_many_rows_a_call():
    rows = {(row[0], row[1]): row for row in drift_cost.counting(COUNTS).rows}
    assert rows["whylogs, track(DataFrame)", 1024][3] == 450.0
    assert rows["whylogs, why.log(DataFrame)", 1000][3] == ""


def test_a_report_from_raw_rows_includes_the_counting_it_is_made_of():
    judged = [
        {"kind": "report", "tool": "Kedge", "seconds": 0.005, "mb": 1.0, "drifted": ["x00", "x01", "x02"]},
        {
            "kind": "report",
            "tool": "whylogs, KS of two profiles",
            "seconds": 0.1,
            "mb": 1.0,
            "drifted": ["x00", "x09", "x10"],
        },
        {"kind": "report", "tool": "Evidently, DataDriftPreset", "seconds": 3.0, "mb": 80.0, "drifted": []},
    ]
    kedge, whylogs, evidently = drift_cost.reports([*COUNTS, *judged], rows=1000).rows
    values = 1000 * 32
    assert kedge[1:3] == (5.0, pytest.approx(5.0 + values * 2.0 / 1e6))
    assert whylogs[1:3] == (100.0, pytest.approx(100.0 + values * 500.0 / 1e6))
    assert evidently[1:3] == (3000.0, 3000.0)
    assert [row[4] for row in (kedge, whylogs, evidently)] == ["3 of 3, 0 false", "1 of 3, 2 false", "0 of 3, 0 false"]


def test_the_summary_has_both_planes_in_a_row_of_each_peer():
    ratios = (
        "30.0 (20.0 - 40.0)",
        "31.0 (20.0 - 40.0)",
        "50.0 (40.0 - 60.0)",
        "51.0 (40.0 - 60.0)",
        "9.00 (8.00 - 9.50)",
    )
    slow = ("0.80 (0.70 - 0.90)", *ratios[1:])
    found = section.Found(document((f"{NATIVE}{OVER}MLServer", *ratios), (f"{PORTABLE}{OVER}MLServer", *slow)))
    line = next(line for line in section.summary(found).splitlines() if "MLServer" in line)
    assert line == f"| MLServer | {ratios[0]} | {ratios[1]} | {ratios[2]} | {ratios[4]} | {slow[0]} |"
    assert "a note" in section.details(found)
    assert "other work took 0.25 cores" in section.details(found)


def test_nothing_is_published_without_the_native_plane():
    ratios = ("0.80 (0.70 - 0.90)",) * 5
    found = section.Found(document((f"{PORTABLE}{OVER}MLServer", *ratios)))
    with pytest.raises(section.SectionError, match="planes was not measured"):
        section.summary(found)


def test_what_is_no_run_of_this_suite_is_refused():
    with pytest.raises(section.SectionError, match="--only peers --json"):
        section.Found({"machine": {}, "suites": {"load": {}}})


def test_a_section_is_replaced_between_its_markers_only():
    text = f"before\n{section.BEGIN}\nold\n{section.END}\nafter\n"
    once = section.replaced(text, "new")
    assert once == f"before\n{section.BEGIN}\n\nnew\n\n{section.END}\nafter\n"
    assert section.replaced(once, "new") == once


@pytest.mark.parametrize(
    "text", ["", section.BEGIN, f"{section.END} {section.BEGIN}", f"{section.BEGIN}{section.END}" * 2]
)
def test_a_text_without_its_markers_is_refused(text):
    with pytest.raises(section.SectionError, match="once each"):
        section.replaced(text, "new")
