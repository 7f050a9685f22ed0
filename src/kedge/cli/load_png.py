"""A load run as a PNG: rates and latencies over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.errors import ConfigError

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ConfigError(
        "--plot: PNG needs matplotlib; install it with: pip install 'kedge[plot]' (or plot .html)"
    ) from error

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.load import Report

RATES: Final = (("planned", "#a3afbd"), ("ok", "#1a7f37"), ("shed", "#9a6700"), ("failed", "#b42318"))
TIMES: Final = (("p50", "#2563eb"), ("p99", "#b42318"))


def write(report: Report, model: str, path: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    limited = "; the client was the limit" if report.client_limited else ""
    title = f"Load on {model} at {report.address}: {report.ok:,} OK of {report.planned:,}{limited}"
    figure.suptitle(title.replace("$", r"\$"), fontsize=12, fontweight="bold")
    times = [one.start for one in report.intervals]
    above, below = figure.subplots(2, 1, sharex=True)
    for name, colour in RATES:
        rates = [getattr(one, name) / one.seconds for one in report.intervals]
        above.plot(times, rates, color=colour, label=name)
    for name, colour in TIMES:
        below.plot(times, [1e3 * getattr(one, name) for one in report.intervals], color=colour, label=name)
    above.set_ylabel("requests a second")
    below.set_ylabel("latency from the intended time, ms")
    below.set_xlabel("seconds")
    for place in (above, below):
        place.set_ylim(bottom=0)
        place.spines[["top", "right"]].set_visible(False)
        place.legend(frameon=False)
    figure.savefig(path, dpi=110)
