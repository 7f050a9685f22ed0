"""The README's chart of the peers: ratios with their ranges, and what counting a value costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.load.field import NATIVE, PORTABLE
from benchmarks.peers.drift_cost import COUNTING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.peers.ratio import Ratio
    from benchmarks.peers.section import Found

COLOURS: Final = {NATIVE: "#1f5fa8", PORTABLE: "#d9822b"}
INK: Final = "#1f2933"
FAINT: Final = "#56636f"
PANELS: Final = ((0, "requests a second, 8 x 8"), (2, "server CPU a request, 8 x 8"), (4, "latency of one client"))
"""Which ratio of `Found.ratios`, and its title."""
COUNTED: Final = (
    ("Kedge, native kernel", 1024),
    ("Kedge, numba kernel", 1024),
    ("whylogs, track(DataFrame)", 1024),
    ("Kedge, native kernel", 1),
    ("river, ADWIN", 1),
    ("Kedge, numba kernel", 1),
    ("river, sketch.Histogram(20)", 1),
    ("whylogs, track(row)", 1),
    ("river, KSWIN", 1),
)
"""Tool and rows a call, of those that are drawn."""


def draw(found: Found, path: Path) -> None:
    """Write it, opaque, so that it reads on any page. Both planes must have been measured."""
    figure = Figure(figsize=(12.4, 7.2), facecolor="white")
    FigureCanvasAgg(figure)
    planes = {name: found.ratios(name) for name in (NATIVE, PORTABLE)}
    peers = list(planes[NATIVE])
    for place, (which, title) in enumerate(PANELS):
        axes = figure.add_axes((0.2 + 0.265 * place, 0.53, 0.245, 0.36))
        _ratios(axes, peers, [(COLOURS[name], [rows[peer][which] for peer in peers]) for name, rows in planes.items()])
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_yticks(range(len(peers)), peers if place == 0 else [""] * len(peers), fontsize=9.5, color=INK)
    _counting(figure.add_axes((0.2, 0.085, 0.775, 0.3)), found)
    head = "Kedge beside servers of the same model, same requests: times better, median and range of turns"
    figure.text(0.012, 0.965, head, fontsize=11.5, weight="bold", color=INK, va="center")
    for place, name in enumerate(planes):
        figure.text(
            0.83 + 0.075 * place, 0.965, f"● {name.split()[1]}", fontsize=10.5, color=COLOURS[name], va="center"
        )
    left = "left of the line worse than the peer, right of it better · Triton: its front end, with the model in Python"
    figure.text(0.2, 0.462, left, fontsize=8.5, color=FAINT, va="center")
    figure.text(
        0.012, 0.415, "CPU of drift statistics, ns a value, by rows a call (each computes something else)",
        fontsize=11.5, weight="bold", color=INK, va="center",
    )  # fmt: skip
    figure.text(0.988, 0.018, found.where(), fontsize=6.5, color=FAINT, ha="right", va="center")
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def _ratios(axes: Any, peers: Sequence[str], planes: Sequence[tuple[str, list[Ratio]]]) -> None:
    step = 0.34
    for place, (colour, ratios) in enumerate(planes):
        for row, ratio in enumerate(ratios):
            y = row + (place - (len(planes) - 1) / 2) * step
            axes.plot([ratio.lowest, ratio.highest], [y, y], color=colour, linewidth=3.2, alpha=0.35)
            axes.plot([ratio.median], [y], "o", color=colour, markersize=6)
            text = f"{ratio.median:.0f}" if ratio.median >= 10 else f"{ratio.median:.1f}"
            axes.annotate(
                text,
                (ratio.highest, y),
                xytext=(5, 0),
                textcoords="offset points",
                fontsize=8.5,
                color=colour,
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )
    axes.axvline(1, color=INK, linewidth=1, zorder=1)
    axes.set_xscale("log")
    low = min(ratio.lowest for _, ratios in planes for ratio in ratios)
    high = max(ratio.highest for _, ratios in planes for ratio in ratios)
    axes.set(xlim=(min(0.3, low / 1.3), high * 3), ylim=(len(peers) - 0.4, -0.6))
    _plain(axes)


def _counting(axes: Any, found: Found) -> None:
    rows = {(str(row[0]), int(row[1])): float(row[2]) for row in found.table(COUNTING).rows}
    shown = [key for key in COUNTED if key in rows]
    for place, key in enumerate(shown):
        kedge = key[0].startswith("Kedge")
        axes.barh(place, rows[key], height=0.66, color=COLOURS[NATIVE] if kedge else "#aab4c0")
        axes.annotate(
            f"{rows[key]:,.0f}" if rows[key] >= 10 else f"{rows[key]:.1f}",
            (rows[key], place),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            va="center",
        )
    names = [f"{tool}, {batch:,} row{'s' if batch > 1 else ''}" for tool, batch in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=9.5, color=INK)
    axes.set_xscale("log")
    axes.set(xlim=(1, 3 * max(rows[key] for key in shown)), ylim=(len(shown) - 0.4, -0.6))
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color="#e4e8ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.spines[:].set_visible(False)
