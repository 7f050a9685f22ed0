"""A load run for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from kedge.cli.common import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from kedge.load import Latency, Plan, Progress, Report

WHY = {
    "malformed": "answers that are no gRPC, or another request's",
    "reset": "streams reset by the server",
    "refused": "streams refused by the server",
    "connection": "lost with their connection",
    "unanswered": "not answered in time",
    "expired": "never sent: their deadline had passed before",
    "unsent": "never sent: no stream was free",
}


def intention(model: str, plan: Plan) -> str:
    """What is about to happen, in a few words."""
    return f"{model}: {plan.rate:,.0f} requests/s" if plan.rate else f"{model}: {plan.closed:,} outstanding"


def so_far(model: str, now: Progress, seconds: float) -> str:
    """The words before the progress bar."""
    failed = f", {now.not_ok:,} failed" if now.not_ok else ""
    return f"{model}: {now.ok:,} OK{failed}, {now.ok / max(seconds, 0.1):,.0f}/s"


def lines(model: str, report: Report, notes: Sequence[str] = ()) -> list[RenderableType]:
    """All that is to be said, verdicts last."""
    plan = report.plan
    how = f"{plan.arrivals} arrivals at {plan.rate:,g}/s" if plan.rate else f"closed loop, {plan.closed:,} outstanding"
    early = " (ended early)" if report.interrupted else ""
    head = f"[bold]{escape(model)}[/] at {escape(report.address)}: {how}, {plan.connections} connections"
    sums = f"{report.planned:,} planned = {report.answered:,} answered + {sum(report.failures.values()):,} failed"
    found: list[RenderableType] = [
        f"{head}, {report.seconds:.2f} s{early}",
        f"{sums}; {report.ok:,} OK, {report.rate:,.0f}/s; {_goodput(report)}",
    ]
    found += [_statuses(report)] if set(report.statuses) - {"OK"} or report.failures else []
    found.append(_latencies(report))
    found += [
        f"answered by version {escape(one.version)}{_bundle(one.bundle)}: {one.count:,}" for one in report.origins
    ]
    found.append(
        f"{_size(report.bytes_out)} sent, {_size(report.bytes_in)} received; client: "
        f"{report.client_cpu / max(report.seconds, 1e-9):.2f} cores, {report.reconnects:,} reconnects"
    )
    return [*found, *(f"note: {escape(note)}" for note in notes), *_verdicts(report)]


def _goodput(report: Report) -> str:
    if not report.plan.deadline:
        return "no deadline"
    share = report.good / report.planned if report.planned else 0.0
    return f"goodput {report.goodput:,.0f}/s within {_time(report.plan.deadline)} ({100 * share:.3g} % of planned)"


def _bundle(bundle: str) -> str:
    return f" (bundle {escape(bundle[:16])})" if bundle else ""


def _statuses(report: Report) -> RenderableType:
    grid = table(None, "what came of them", "requests", "the first said", right=("requests",))
    for name, count in sorted(report.statuses.items(), key=lambda one: -one[1]):
        grid.add_row(name, f"{count:,}", escape(report.texts.get(name, "")))
    for name, count in report.failures.items():
        grid.add_row(WHY[name], f"{count:,}", escape(report.texts.get(name, "")))
    return grid


def _latencies(report: Report) -> RenderableType:
    grid = table(
        None, "", "p50", "p90", "p99", "p99.9", "max", "mean", right=("p50", "p90", "p99", "p99.9", "max", "mean")
    )
    kinds = (
        ("latency of OK, from the intended time", report.latency),
        ("service time of OK, from the sending", report.service),
        ("latency of other answers", report.other_latency),
        ("service time of other answers", report.other_service),
        ("lag of the generator", report.lag),
    )
    for name, found in kinds:
        if found.count:
            grid.add_row(name, *_row(found))
    return grid


def _row(found: Latency) -> list[str]:
    return [_time(value) for value in (found.p50, found.p90, found.p99, found.p999, found.max, found.mean)]


def _verdicts(report: Report) -> list[RenderableType]:
    found: list[RenderableType] = []
    if report.lost:
        found.append(f"[red]connections were lost for good[/]: {escape(report.texts.get('connection', ''))}")
    if report.client_limited:
        found.append(
            f"[yellow]the client was the limit[/]: {report.late:,} of {report.planned:,} requests were more than 1 ms "
            f"late by its own fault, the worst {_time(report.lag.max)}; lower --rate, or give it --threads and cores"
        )
    if report.streams_limited:
        found.append(
            f"[yellow]streams were the limit[/]: {report.waited:,} of {report.planned:,} requests waited for a free "
            "one; the server is slower than the rate, or --connections and --streams are too low for it"
        )
    return found


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
