"""What suites give back and `python -m benchmarks` prints: tables of text and numbers, and the machine."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES: Final = ("onnxruntime", "grpcio", "numpy")

Cell = str | float | int


@dataclass(frozen=True)
class Table:
    """A table with what a reader must know of it.

    Attributes:
        title: one line.
        columns: their names.
        rows: as many cells each.
        notes: sentences below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line([_shown(cell) for cell in row]) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def json(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


class BenchmarkError(Exception):
    """A figure could not be had, or would not count: one line that says why."""


def ratio_row(
    what: str, ratios: Sequence[float], *, least: float | None = None, most: float | None = None
) -> tuple[Cell, ...]:
    """What, median, range, number of pairs, the bar and whether the median meets it; no bar is information."""
    middle = statistics.median(ratios)
    bound, verdict = "", ""
    if least is not None:
        bound, verdict = f">= {least:g}", "yes" if middle >= least else "NO"
    elif most is not None:
        bound, verdict = f"<= {most:g}", "yes" if middle <= most else "NO"
    return what, middle, f"{min(ratios):.2f} - {max(ratios):.2f}", len(ratios), bound, verdict


def from_markdown(title: str, text: str) -> tuple[Table, ...]:
    """The tables that a program printed; lines around them are notes of the table after which they stand."""
    tables: list[Table] = []
    rows: list[tuple[Cell, ...]] = []
    head: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(tuple(_number(cell.strip()) for cell in line.strip().strip("|").split("|")))
        elif rows:
            columns, _, *body = rows
            number = f" ({len(tables) + 1})" if tables else ""
            tables.append(Table(title + number, tuple(str(name) for name in columns), tuple(body), tuple(head)))
            rows, head = [], []
        elif line.strip():
            head.append(line.strip())
    return tuple(tables)


def machine() -> dict[str, str]:
    """What the figures hold for, and how busy it was with other work when they were taken."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "software": ", ".join([f"Python {platform.python_version()}", *versions, h2load or "no h2load"]),
        "load before": f"{os.getloadavg()[0]:.1f} runnable threads on average over the last minute, of other work",
    }


class OtherWork:
    """How much of the machine others took since this was made: figures from a busy one are worth less."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def cores(self) -> float:
        """Cores that neither idled nor ran this process and its children that have ended; a hypervisor's theft too."""
        foreign = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return max(0.0, foreign / (time.monotonic() - self._start))


def _busy_seconds() -> float:
    """CPU seconds of the machine since it started, all but idle and waiting for disks."""
    user, nice, system, _, _, interrupt, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupt + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 20 else f"{cell:.2f}"


def _number(cell: str) -> Cell:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return cell
