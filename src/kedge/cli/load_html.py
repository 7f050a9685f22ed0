"""A load run as one HTML page: inline SVG, no scripts, nothing fetched from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from kedge.cli.plot_html import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kedge.load import Report

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 30
RATES: Final = (("planned", "--ref"), ("ok", "--ok"), ("shed", "--warn"), ("failed", "--critical"))
TIMES: Final = (("p50", "--now"), ("p99", "--critical"))
LINES: Final = 'fill="none" stroke-width="1.8" stroke-linejoin="round"'

Series = tuple[str, str, list[float]]
"""Name, colour of the style sheet, values."""


def write(report: Report, model: str, path: Path) -> None:
    """Write the page."""
    path.write_text(page(report, model), encoding="utf-8")


def page(report: Report, model: str) -> str:
    """The page: figures, then rates and latencies over time."""
    title = f"Load on {model} at {report.address}"
    times = [one.start for one in report.intervals]
    rates: list[Series] = [
        (name, colour, [getattr(one, name) / one.seconds for one in report.intervals]) for name, colour in RATES
    ]
    delays: list[Series] = [
        (name, colour, [1e3 * getattr(one, name) for one in report.intervals]) for name, colour in TIMES
    ]
    figures = (
        ("planned", f"{report.planned:,}"),
        ("OK", f"{report.ok:,}"),
        ("OK a second", f"{report.rate:,.0f}"),
        ("p50", f"{1e3 * report.latency.p50:.3g} ms"),
        ("p99", f"{1e3 * report.latency.p99:.3g} ms"),
        ("p99.9", f"{1e3 * report.latency.p999:.3g} ms"),
        ("slowest", f"{1e3 * report.latency.max:.3g} ms"),
    )
    counts = "".join(f"<div><b>{value}</b>{name}</div>" for name, value in figures)
    limited = "<p><b>The client was the limit: these figures measure it.</b></p>" if report.client_limited else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p class="soft">Latency is of OK answers, from the time each request was to be sent.</p>{limited}
<div class="counts">{counts}</div>
<main>{chart("Requests a second", times, rates)}{chart("Latency, ms", times, delays)}</main></body></html>
"""


def chart(title: str, times: Sequence[float], series: Sequence[Series]) -> str:
    """One chart: lines over seconds, with their names below the title."""
    highest = max((max(values, default=0.0) for _, _, values in series), default=0.0) or 1.0
    last = max(times[-1] if times else 0.0, 1e-9)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for share in (0.0, 0.5, 1.0):
        y = TOP + height * (1 - share)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_number(highest * share)}</text>')
        x = LEFT + width * share
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{last * share:.3g} s</text>')
    for name, colour, values in series:
        points = " ".join(
            f"{LEFT + width * time / last:.1f},{TOP + height * (1 - value / highest):.1f}"
            for time, value in zip(times, values, strict=True)
        )
        parts.append(f'<polyline points="{points}" {LINES} stroke="var({colour})"><title>{name}</title></polyline>')
    key = "".join(f'<span><i style="background:var({colour})"></i>{name}</span>' for name, colour, _ in series)
    return f'<article><h2>{escape(title)}</h2><div class="key">{key}</div>{"".join(parts)}</svg></article>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
