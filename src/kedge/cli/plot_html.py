"""A drift report as one HTML page: inline SVG, no scripts, nothing fetched from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from kedge.cli.moments import shown
from kedge.cli.verdicts import cause_name
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 62
LABEL_CHARACTERS: Final = 13
MAX_LABELS: Final = 16
"""Labels below a chart; of more cells every second, third, ... is named, and all of them by their tooltips."""

STYLE: Final = """
:root { color-scheme: light dark; --page:#f6f7f9; --card:#fff; --ink:#16202c; --soft:#5b6878; --rule:#dde2e8;
  --ref:#a3afbd; --now:#2563eb; --critical:#b42318; --warn:#9a6700; --ok:#1a7f37; --none:#5b6878; }
@media (prefers-color-scheme: dark) { :root { --page:#0f141a; --card:#182029; --ink:#e7ecf2; --soft:#9aa7b6;
  --rule:#2c3743; --ref:#66748a; --now:#6ea8fe; --critical:#ff8078; --warn:#e3b341; --ok:#56d364; --none:#9aa7b6; } }
* { box-sizing:border-box } body { margin:0; padding:28px clamp(14px,4vw,48px); background:var(--page);
  color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
h1 { font-size:24px; margin:0 0 2px } p { margin:2px 0 } .soft { color:var(--soft) }
.counts { display:flex; flex-wrap:wrap; gap:10px; margin:16px 0 } .counts div { background:var(--card);
  border:1px solid var(--rule); border-radius:10px; padding:8px 16px; min-width:110px }
.counts b { display:block; font-size:22px; line-height:1.25 }
.key { display:flex; gap:18px; margin:0 0 14px } .key i { display:inline-block; width:12px; height:12px;
  border-radius:3px; margin-right:6px; vertical-align:-1px }
main { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr)); gap:16px }
article { background:var(--card); border:1px solid var(--rule); border-radius:12px; padding:14px 16px 8px }
article h2 { font-size:16px; margin:0; overflow-wrap:anywhere } header.line { display:flex; align-items:baseline;
  gap:10px; justify-content:space-between } .why { min-height:3em; font-size:13.5px }
.chip { font-size:11.5px; font-weight:700; letter-spacing:.04em; border:1.5px solid currentColor; border-radius:99px;
  padding:1px 9px; white-space:nowrap } .CRITICAL { color:var(--critical) } .WARN { color:var(--warn) }
.OK { color:var(--ok) } .INSUFFICIENT { color:var(--none) } svg { display:block; width:100%; height:auto }
svg text { fill:var(--soft); font-size:10.5px } .grid { stroke:var(--rule) } .ref { fill:var(--ref) }
.now { fill:var(--now) } .hit { fill:transparent }
g.cell:hover .hit { fill:color-mix(in srgb,var(--ink) 7%,transparent) }
"""


def write(report: pb.DriftReport, path: Path) -> None:
    """Write the page."""
    path.write_text(page(report), encoding="utf-8")


def page(report: pb.DriftReport) -> str:
    """The page: a summary, then a card a line, worst first."""
    title = f"Drift of {report.model} {report.version}"
    when = f"{shown(report.window_start)} to {shown(report.window_end)}" if report.rows else "no traffic in this window"
    cards = "\n".join(card(line) for line in report.lines)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p class="soft">{when}. Bundle {escape(report.bundle[:16])}. Effects are held against lines that are never below the
reference's own variation over time.</p>
<div class="counts">{"".join(_counts(report))}</div>
<div class="key"><span><i style="background:var(--ref)"></i>reference, {report.reference_rows:,} rows</span>
<span><i style="background:var(--now)"></i>current, {report.rows:,} rows</span></div>
<main>
{cards}
</main></body></html>
"""


def _counts(report: pb.DriftReport) -> Iterator[str]:
    for verdict in ("CRITICAL", "WARN", "OK", "INSUFFICIENT"):
        count = sum(pb.Verdict.Name(line.verdict) == verdict for line in report.lines)
        words = {"CRITICAL": "critical", "WARN": "warning", "OK": "ok", "INSUFFICIENT": "too little data"}[verdict]
        yield f'<div><b class="{verdict}">{count}</b>{words}</div>'
    smallest = f"{report.smallest_detectable_psi:.2g}" if report.rows else "-"
    yield f"<div><b>{smallest}</b>smallest PSI* it can show</div>"


def card(line: pb.DriftLine) -> str:
    """One distribution: name, verdict, effects, reasons and bars."""
    verdict = pb.Verdict.Name(line.verdict)
    subject = "" if line.subject == "feature" else f'<span class="soft">{escape(line.subject)} </span>'
    lines = f"(warns at {line.psi_warn:.2f}, critical at {line.psi_critical:.2f})"
    why = escape("; ".join(line.reasons).replace("->", "→")) or "within its lines"
    cause = f" · {name}" if (name := cause_name(line.cause)) else ""
    return f"""<article><header class="line"><h2>{subject}{escape(line.name)}</h2>
<span class="chip {verdict}">{verdict}{cause}</span></header>
<p class="soft">PSI* {line.psi:.3f} {lines}, JS* {line.js:.3f}</p>
<p class="why">{why}</p>
{bars(line.cells, f"{line.name}: reference against current")}</article>"""


def bars(cells: Sequence[pb.Cell], title: str) -> str:
    """Paired bars of shares, one pair a cell, with exact values as tooltips."""
    current, reference = (
        max(1, sum(values)) for values in ([c.count for c in cells], [c.reference_count for c in cells])
    )
    shares = [(cell.reference_count / reference, cell.count / current) for cell in cells]
    highest = _round_up(max((max(pair) for pair in shares), default=0.0))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for fraction in (0.0, 0.5, 1.0):
        y = TOP + height * (1 - fraction)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{100 * highest * fraction:.3g} %</text>'
        )
    step = width / max(1, len(cells))
    bar = min(26.0, step * 0.4)
    every = -(-len(cells) // MAX_LABELS)
    for i, (cell, pair) in enumerate(zip(cells, shares, strict=True)):
        middle = LEFT + step * (i + 0.5)
        tooltip = (
            f"{cell.label}\nreference {100 * pair[0]:.2f} % ({cell.reference_count:,})\n"
            f"current {100 * pair[1]:.2f} % ({cell.count:,})"
        )
        parts.append(f'<g class="cell"><title>{escape(tooltip)}</title>')
        parts.append(f'<rect class="hit" x="{middle - step / 2:.1f}" y="{TOP}" width="{step:.1f}" height="{height}"/>')
        for share, kind, x in ((pair[0], "ref", middle - bar), (pair[1], "now", middle)):
            tall = height * share / highest
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{TOP + height - tall:.1f}" width="{max(1.0, bar - 0.5):.1f}" '
                f'height="{tall:.1f}" rx="1"/>'
            )
        parts.append("</g>")
        if i % every == 0:
            parts.append(_label(cell.label, middle, slanted=len(cells) > 6))
    return "".join([*parts, "</svg>"])


def _label(text: str, x: float, *, slanted: bool) -> str:
    if text.startswith("[") and slanted:  # of an interval its lower bound says enough; the tooltip has both
        text = text[1:].partition(",")[0]
    short = text if len(text) <= LABEL_CHARACTERS else text[: LABEL_CHARACTERS - 1] + "…"
    y = HEIGHT - BOTTOM + 14
    turn = f' text-anchor="end" transform="rotate(-38 {x:.1f} {y})"' if slanted else ' text-anchor="middle"'
    return f'<text x="{x:.1f}" y="{y}"{turn}>{escape(short)}</text>'


def _round_up(share: float) -> float:
    """The next of 1, 2, 5, 10, ... percent: the top of the axis."""
    for percent in (1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100):
        if share <= percent / 100:
            return percent / 100
    return 1.0
