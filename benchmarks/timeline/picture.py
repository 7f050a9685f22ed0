"""The picture: a column a month or fault, a row a feature, the colour how it stands and whose problem it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from kedge.demo import flights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.timeline.play import Column

GROUPS: Final = {"weather": flights.WEATHER, "schedule": flights.SCHEDULE, "category": flights.CATEGORIES}
COLOURS: Final = {
    ("OK", "NONE"): ("#edf1f5", "#7a8797", "quiet"),
    ("INSUFFICIENT", "NONE"): ("#ffffff", "#7a8797", "too little data"),
    ("WARN", "DATA"): ("#f7c96b", "#4d3500", "the world moved: warning"),
    ("CRITICAL", "DATA"): ("#d8432e", "#ffffff", "the world moved: critical"),
    ("WARN", "PIPELINE"): ("#b9a3ee", "#2a1263", "broken pipeline: warning"),
    ("CRITICAL", "PIPELINE"): ("#6134b8", "#ffffff", "broken pipeline: critical"),
}
"""By verdict and cause: background, text, name."""
WINTER: Final = 3
CAPTION: Final = (
    "Numbers: PSI* of that month over the line it warns at; both halves of a month must have moved. "
    "Words: the fault that was found."
)
GAP: Final = 0.35
"""Between winter, the months it does not know, and the faults; in columns."""
INK: Final = "#1f2933"
FAULT_WIDTH: Final = 1.8
TESTS: Final = {"unit": "other unit"}
"""By name in a judgement, where the picture has room for more."""


def draw(columns: Sequence[Column], path: Path) -> None:
    """Write it, opaque, so that it reads on any page."""
    names = [name for group in GROUPS.values() for name in group]
    figure = Figure(figsize=(12.4, 6.5), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.125, 0.115, 0.865, 0.755))
    used: set[tuple[str, str]] = set()
    left, spans = 0.0, list[tuple[float, float, str]]()
    for place, column in enumerate(columns):
        width = FAULT_WIDTH if column.broken else 1.0
        head = _head(place, column)
        if head:
            left += GAP if place else 0.0
            spans.append((left, left, head))
        spans[-1] = (spans[-1][0], left + width, spans[-1][2])
        axes.text(left + width / 2, -0.15, column.name, ha="center", va="bottom", fontsize=9.5, color=INK)
        for row, name in enumerate(names):
            used.add(_cell(axes, (left, row + _shift(name), width), column.cells[name], marked=name == column.broken))
        if column.broken:
            axes.text(
                left + width / 2, len(names) + 0.95, _after(column), ha="center", va="top", fontsize=8.5, color=INK
            )
        left += width
    for start, end, head in spans:
        axes.text((start + end) / 2, -1.05, head, ha="center", va="bottom", fontsize=10.5, weight="bold", color=INK)
        axes.plot([start + 0.06, end - 0.06], [-0.95, -0.95], color="#aab4c0", linewidth=1)
    axes.set(xlim=(-0.05, left + 0.05), ylim=(len(names) + 0.8, -0.1))
    axes.set_yticks([row + _shift(name) + 0.5 for row, name in enumerate(names)], names, fontsize=9.5, color=INK)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    shown = [Patch(facecolor=fill, label=what) for key, (fill, _, what) in COLOURS.items() if key in used]
    figure.legend(
        handles=shown, loc="lower left", bbox_to_anchor=(0.12, 0.005), ncols=len(shown), frameon=False, fontsize=9
    )
    figure.text(
        0.125, 0.975, CAPTION,
        fontsize=9, color="#56636f", va="top",
    )  # fmt: skip
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def _head(place: int, column: Column) -> str:
    """What begins at this column, or nothing."""
    if place == 0:
        return "winter, held out"
    if place == WINTER:
        return "April to December, against winter"
    return "winter with a planted fault" if column.broken and place == WINTER + 9 else ""


def _shift(name: str) -> float:
    """Groups of features stand apart."""
    return next(place for place, group in enumerate(GROUPS.values()) if name in group) * 0.3


def _cell(axes: Any, place: tuple[float, float, float], cell: dict[str, Any], *, marked: bool) -> tuple[str, str]:
    """Draw one. Returns its verdict and cause."""
    left, top, width = place
    key = (cell["verdict"], cell["cause"])
    fill, ink, _ = COLOURS[key]
    edge, line = (INK, 1.6) if marked else ("white", 1.2)
    axes.add_patch(Rectangle((left, top), width, 1, facecolor=fill, edgecolor=edge, linewidth=line, zorder=2 + marked))
    quiet = key[1] == "NONE"
    by_effect = quiet or cell["test"] == "drift"
    text = f"{max(0.0, cell['psi'] / cell['warn']):.1f}" if by_effect else TESTS.get(cell["test"], cell["test"])
    axes.text(
        left + width / 2,
        top + 0.52,
        text,
        ha="center",
        va="center",
        fontsize=7.5 if quiet else 8.5,
        color=ink,
        zorder=4,
    )
    return key


def _after(column: Column) -> str:
    found = column.found.get(f"feature {column.broken}")
    return f"found after\n{found['after']:,} flights" if found else "not found"
