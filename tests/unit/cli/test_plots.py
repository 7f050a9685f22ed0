"""Plots of hostile names, of nothing, and without matplotlib."""

from __future__ import annotations

import importlib
import itertools
import sys
from typing import TYPE_CHECKING

import pytest

from kedge.cli import plot_html, plot_png
from kedge.errors import ConfigError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<script>alert('$x$')</script>&\"'"


def report() -> pb.DriftReport:
    cells = [pb.Cell(label=HOSTILE, count=3, reference_count=0), pb.Cell(label="[0, 1)", count=0, reference_count=5)]
    line = pb.DriftLine(
        subject="feature", name=HOSTILE, kind="categorical", verdict=pb.CRITICAL, reasons=[HOSTILE], cells=cells
    )
    empty = pb.DriftLine(subject="score", name="empty", kind="numeric", verdict=pb.INSUFFICIENT)
    return pb.DriftReport(model=HOSTILE, version="1", rows=3, reference_rows=5, lines=[line, empty])


def test_names_cannot_become_markup() -> None:
    page = plot_html.page(report())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_shares_are_exact_in_tooltips() -> None:
    svg = plot_html.bars(report().lines[0].cells, "t")
    assert "reference 0.00 % (0)\ncurrent 100.00 % (3)" in svg
    assert "[0, 1)\nreference 100.00 % (5)\ncurrent 0.00 % (0)" in svg


def test_a_report_of_nothing_is_still_a_page_and_a_picture(tmp_path: Path) -> None:
    empty = pb.DriftReport(model="m", version="1")
    assert "no traffic in this window" in plot_html.page(empty)
    plot_png.write(empty, tmp_path / "empty.png")
    plot_png.write(report(), tmp_path / "hostile.png")
    for name in ("empty.png", "hostile.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_cell_that_holds_the_traffic_is_named_and_labels_do_not_touch() -> None:
    counts = [0] * 23
    counts[21] = 9
    named = plot_png._named(counts)
    assert 21 in named
    assert len(named) <= plot_png.MAX_LABELS
    assert min(b - a for a, b in itertools.pairwise(named)) >= 3
    assert plot_png._named([5, 1]) == [0, 1]
    assert plot_png._named([]) == []


def test_without_matplotlib_png_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "kedge.cli.plot_png")
    with pytest.raises(ConfigError, match=r"pip install 'kedge\[plot\]'"):
        importlib.import_module("kedge.cli.plot_png")
