"""`kedge drift`: what was served, against what the model was built on."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from kedge.cli import plots
from kedge.cli.common import NO, JsonFlag, emit, examples, new_app, table
from kedge.cli.connecting import Server, connecting
from kedge.cli.drift_watch import follow
from kedge.cli.moments import duration, moment, shown
from kedge.cli.verdicts import STYLES, cause_name
from kedge.errors import ConfigError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from rich.console import RenderableType

FAULT_SHOWN: Final = 0.0005
"""Share from which a kind of unusable value is worth a place in the table."""
REASONS_SHOWN: Final = 2

app = new_app()


@app.command(
    epilog=examples(
        "kedge drift flights-late",
        "kedge drift flights-late --last 1h --plot drift.html",
        "kedge drift flights-late --since 2013-07-01T00:00+00:00 --json",
        "kedge drift flights-late --watch",
    )
)
@connecting
def drift(
    *,
    model: Annotated[str, typer.Argument(help="Name of the model, as its bundle says.")],
    since: Annotated[
        str | None, typer.Option(help="Start of the window: an ISO 8601 time, local unless it names a zone.")
    ] = None,
    last: Annotated[str | None, typer.Option(help="Length of the window: 90s, 10m, 2h, 1d.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw every distribution: .html (self-contained) or .png.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show how everything stands as it changes, until interrupted.")
    ] = False,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Compare what was served with a model's reference.

    One line a feature, prediction, score and confidence measure, the worst first. PSI* and JS* are the population
    stability index and the Jensen-Shannon distance less what sampling alone gives. The window is everything the server
    remembers unless --since or --last says otherwise. What moved must have moved in both halves of it. The cause says
    whose problem it is: "data" where the world moved, "pipeline" where values are missing, invalid, unseen, out of
    range, stuck or in another unit, "model" where only predictions moved.

    With --watch, what the server's evaluator finds as it looks once a second, errors, latency and outcomes included.

    Exit status: 0 if nothing is critical (warnings and too little data included), 1 if something is CRITICAL, 2 for bad
    input.
    """
    if since is not None and last is not None:
        raise ConfigError("--since and --last both say where the window begins; give one")
    if watch:
        if since is not None or last is not None or plot is not None:
            raise ConfigError("--watch shows what stands now; it takes no --since, --last or --plot")
        follow(server, model, as_json=as_json)
        return
    draw = plots.writer(plot, html="plot_html", png="plot_png")
    start = moment("--since", since) if since else time.time() - duration("--last", last) if last else 0.0
    with server.client() as client:
        report = client.drift(model, start)
    if plot is not None:
        draw(report, plot)
    text = _text(report)
    if plot is not None:
        text.append(f"plot written to {escape(str(plot))}")
    emit({**_payload(report), "plot": str(plot) if plot else None}, *text, as_json=as_json)
    if report.verdict == pb.CRITICAL:
        raise NO


def _payload(report: pb.DriftReport) -> dict[str, Any]:
    fields = ("model", "version", "bundle", "window_start", "window_end", "rows", "reference_rows", "minimum_rows")
    return {
        **{name: getattr(report, name) for name in fields},
        "smallest_detectable_psi": report.smallest_detectable_psi,
        "verdict": pb.Verdict.Name(report.verdict),
        "estimate": {
            name: getattr(report.estimate, name) for name in ("accuracy", "error", "reference", "rows", "enough")
        }
        if report.HasField("estimate")
        else None,
        "lines": [_line_payload(line) for line in report.lines],
    }


def _line_payload(line: pb.DriftLine) -> dict[str, Any]:
    fields = ("psi", "js", "w1", "rise", "p_value", "windows", "psi_warn", "psi_critical", "natural_variation", "rows")
    return {
        "subject": line.subject,
        "name": line.name,
        "kind": line.kind,
        "verdict": pb.Verdict.Name(line.verdict),
        "cause": cause_name(line.cause) or None,
        "test": line.test,
        "reference_rows": line.reference_rows,
        **{name: getattr(line, name) for name in fields},
        "reasons": list(line.reasons),
        "faults": {
            fault.kind: {"share": fault.share, "reference_share": fault.reference_share} for fault in line.faults
        },
        "cells": [
            {"label": cell.label, "count": cell.count, "reference_count": cell.reference_count} for cell in line.cells
        ],
    }


def _text(report: pb.DriftReport) -> list[RenderableType]:
    who = f"[bold]{escape(report.model)} {escape(report.version)}[/bold]"
    head = [f"{who}: {report.rows:,} rows served, against {report.reference_rows:,} rows of reference"]
    if not report.rows:
        return [*head, "nothing was served in this window, so there is nothing to compare yet"]
    head.append(
        f"{shown(report.window_start)} to {shown(report.window_end)}; smallest shift this window can show: "
        f"PSI* {report.smallest_detectable_psi:.2g}"
    )
    grid = table(
        None,
        "verdict",
        "cause",
        "subject",
        "name",
        "PSI*",
        "warn at",
        "JS*",
        "unusable",
        "why",
        right=("PSI*", "JS*", "warn at"),
    )
    for line in report.lines:
        verdict = pb.Verdict.Name(line.verdict)
        faults = [f"{f.kind} {100 * f.share:.2g} %" for f in line.faults if f.share >= FAULT_SHOWN]
        grid.add_row(
            f"[{STYLES[verdict]}]{verdict}[/]",
            cause_name(line.cause),
            line.subject,
            escape(line.name),
            f"{line.psi:.3f}",
            f"{line.psi_warn:.2f}",
            f"{line.js:.3f}",
            ", ".join(faults),
            escape("; ".join(line.reasons[:REASONS_SHOWN])),
        )
    return [*head, "", grid, "", _verdict(report), *_estimate(report)]


def _estimate(report: pb.DriftReport) -> list[RenderableType]:
    guess = report.estimate
    if not report.HasField("estimate") or not guess.rows:
        return []
    if not guess.enough:
        return ["accuracy cannot be estimated: the model's confidence is such as its calibration hardly saw"]
    text = (
        f"estimated accuracy {100 * guess.accuracy:.1f} % ± {200 * guess.error:.1f} ({100 * guess.reference:.1f} % "
        "measured on calibration data). An estimate from confidence alone: without labels it cannot see concept drift"
    )
    return [text]


def _verdict(report: pb.DriftReport) -> str:
    count = {name: sum(pb.Verdict.Name(line.verdict) == name for line in report.lines) for name in STYLES}
    if count["INSUFFICIENT"] == len(report.lines):
        return f"too little data to judge: {report.rows:,} rows, {report.minimum_rows:,} are needed"
    words = {"CRITICAL": "critical", "WARN": "warning", "OK": "ok", "INSUFFICIENT": "with too little data"}
    return ", ".join(f"{count[name]} {word}" for name, word in words.items())
