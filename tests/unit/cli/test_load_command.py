"""`kedge load`: usage, words and plots; runs against servers are elsewhere."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

import kedge.cli
from kedge.cli import load_text
from kedge.load import Interval, Latency, Origin, Plan, Report

if TYPE_CHECKING:
    from pathlib import Path

NONE = Latency(0, 0, 0, 0, 0, 0, 0, 0)
REPORT = Report(
    address="127.0.0.1:8001",
    plan=Plan(rate=100, duration=3, deadline=0.05),
    planned=300,
    sent=290,
    statuses={"OK": 270, "RESOURCE_EXHAUSTED": 20},
    failures={"expired": 10},
    texts={"RESOURCE_EXHAUSTED": "the queue [red]is full"},
    good=240,
    latency=Latency(270, 0.002, 0.0004, 0.001, 0.003, 0.04, 0.05, 0.0512),
    service=Latency(270, 0.001, 0.0004, 0.001, 0.002, 0.003, 0.004, 0.004),
    other_latency=NONE,
    other_service=NONE,
    lag=Latency(300, 1e-5, 1e-6, 1e-5, 1e-5, 1e-4, 2e-4, 3e-4),
    late=0,
    waited=0,
    origins=(Origin("ab" * 32, "1.0", 200), Origin("cd" * 32, "1.1", 70)),
    intervals=tuple(Interval(at, 1.0, 100, 97, 90, 7, 3, 0.001, 0.03 + at / 100) for at in range(3)),
    interval_seconds=1.0,
    seconds=3.0,
    bytes_in=5_000,
    bytes_out=2_500_000,
    reconnects=1,
    client_cpu=0.3,
    interrupted=False,
    lost=False,
)


def shown(report: Report) -> str:
    console = Console(width=160, record=True)
    for line in load_text.lines("m", report, notes=["columns were matched by name"]):
        console.print(line)
    return console.export_text()


def test_the_figures_in_words() -> None:
    text = shown(REPORT)
    assert "300 planned = 290 answered + 10 failed; 270 OK, 90/s" in text
    assert "goodput 80/s within 50 ms (80 % of planned)" in text
    assert "the queue [red]is full" in text
    assert "never sent: their deadline had passed before" in text
    assert "answered by version 1.1 (bundle cdcdcdcdcdcdcdcd): 70" in text
    assert "51.2 ms" in text
    assert "note: columns were matched by name" in text
    assert "limit" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"late": 4}, "the client was the limit: 4 of 300"),
        ({"waited": 4}, "streams were the limit: 4 of 300"),
        (
            {"lost": True, "texts": {"connection": "Connection refused"}},
            "connections were lost for good: Connection refused",
        ),
        ({"interrupted": True}, "(ended early)"),
    ],
)
def test_what_limits_the_figures_is_said(change: dict[str, Any], words: str) -> None:
    assert words in shown(dataclasses.replace(REPORT, **change))


def test_three_late_requests_of_three_hundred_limit_nothing() -> None:
    assert not dataclasses.replace(REPORT, late=3).client_limited


def test_the_page_draws_every_series(tmp_path: Path) -> None:
    from kedge.cli.load_html import write

    write(dataclasses.replace(REPORT, late=99), "<m>", tmp_path / "load.html")
    page = (tmp_path / "load.html").read_text()
    assert "&lt;m&gt;" in page
    assert "The client was the limit" in page
    charts = re.findall(r"<svg.*?</svg>", page)
    assert [chart.count("<polyline") for chart in charts] == [4, 2]
    for name in ("planned", "ok", "shed", "failed", "p50", "p99"):
        assert f"<title>{name}</title>" in page


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="kedge[plot] is not installed")
    from kedge.cli.load_png import write

    write(REPORT, "m$x$", tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--rows random", "either a rate"),
        ("--rows random --rate 10 --deadline 0ms", "--deadline: 0 leaves no time"),
        ("--rows random --rate 10 --duration 10", "no duration"),
        ("--rate 10", "--input FILE, or --rows random"),
        ("--rate 10 --rows random --key a", "give --input"),
        ("--rate 10 --input a.csv --outcomes y --rows-per-request 2", "--rows-per-request 1"),
        ("--rate 10 --rows random --plot a.pdf", "must end in .html or .png"),
        ("--rate 10 --rows random --allow-errors 2", "--allow-errors"),
        ("--rate 10 --rows random --server 127.0.0.1:1", "no server answers"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], options: str, words: str) -> None:
    with pytest.raises(SystemExit) as end:
        kedge.cli.main(["load", "flights", *options.split()])
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert words in text
    assert text.count("\n") == 1
