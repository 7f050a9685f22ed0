"""A drift report as a PNG: the worst distributions, reference against current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedge.cli.verdicts import cause_name
from kedge.errors import ConfigError
from kedge.proto import admin as pb

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ConfigError(
        "--plot: PNG needs matplotlib; install it with: pip install 'kedge[plot]' (or plot .html)"
    ) from error

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS: Final = 3
MOST: Final = 24
"""Charts in one picture, the worst first; the HTML page has them all."""
LABEL_CHARACTERS: Final = 18
"""A range of two numbers of four digits each fits; names of categories may be longer, and are cut."""
MAX_LABELS: Final = 10
REFERENCE, CURRENT = "#a3afbd", "#2563eb"
COLOURS: Final = {"CRITICAL": "#b42318", "WARN": "#9a6700", "OK": "#1a7f37", "INSUFFICIENT": "#5b6878"}


def write(report: pb.DriftReport, path: Path) -> None:
    """Write the picture."""
    lines = report.lines[:MOST]
    rows = max(1, -(-len(lines) // COLUMNS))
    figure = Figure(figsize=(5.2 * COLUMNS, 3.1 * rows + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    more = f" (worst {len(lines)} of {len(report.lines)})" if len(report.lines) > len(lines) else ""
    figure.suptitle(
        f"Drift of {report.model} {report.version}: {report.rows:,} rows against {report.reference_rows:,} of "
        f"reference{more}",
        fontsize=14,
        fontweight="bold",
    )
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for place, line in zip(axes, lines, strict=False):
        _chart(place, line)
    for place in axes[len(lines) :]:
        place.set_visible(False)
    if lines:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def _chart(place: Any, line: pb.DriftLine) -> None:
    verdict = pb.Verdict.Name(line.verdict)
    cause = f" ({whose})" if (whose := cause_name(line.cause)) else ""
    name = line.name if line.subject == "feature" else f"{line.subject} {line.name}"
    current, reference = max(1, sum(c.count for c in line.cells)), max(1, sum(c.reference_count for c in line.cells))
    where = range(len(line.cells))
    place.bar(
        [x - 0.2 for x in where],
        [100 * c.reference_count / reference for c in line.cells],
        0.4,
        color=REFERENCE,
        label="reference",
    )
    place.bar(
        [x + 0.2 for x in where], [100 * c.count / current for c in line.cells], 0.4, color=CURRENT, label="current"
    )
    named = _named([c.count for c in line.cells])
    place.set_xticks(named, [_short(line.cells[i].label) for i in named], rotation=35, ha="right", fontsize=7)
    place.set_title(
        f"{_short(name, 36)}   PSI* {line.psi:.3f}   {verdict}{cause}", fontsize=10, color=COLOURS[verdict], loc="left"
    )
    place.tick_params(axis="y", labelsize=8)
    place.yaxis.set_major_formatter("{x:g} %")
    place.spines[["top", "right"]].set_visible(False)


def _named(counts: list[int]) -> list[int]:
    """Places of the cells that have room for a label: evenly apart, and the one that most of the traffic is in."""
    every = max(1, -(-len(counts) // MAX_LABELS))
    most = max(range(len(counts)), key=counts.__getitem__, default=0)
    return sorted({i for i in range(0, len(counts), every) if abs(i - most) >= every} | ({most} if counts else set()))


def _short(text: str, most: int = LABEL_CHARACTERS) -> str:
    """Cut to length; a dollar sign would start mathematics."""
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")
