"""What drift statistics cost: each library in its own process, on the same rows, counting and judging."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import model
from benchmarks.load.process import ROOT
from benchmarks.peers import environments
from benchmarks.peers.environments import InstallError
from benchmarks.report import BenchmarkError, Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAMS: Final = Path(__file__).parent / "drift"
ROWS: Final = 100_000
QUICK_ROWS: Final = 10_000
MOVED: Final = 3
"""Features of current that have moved, by half a standard deviation."""
PEERS: Final = ("whylogs", "river", "evidently")
BASE: Final = "Kedge, native kernel"
COUNTING: Final = "Drift: counting"
REPORTS: Final = "Drift: a report"
RUN_SECONDS: Final = 300

COMPUTES: Final = {
    "Kedge, native kernel": "bins, moments, least and greatest, missing, invalid, out of range; exact, merges exactly",
    "Kedge, numba kernel": "as the native kernel",
    "whylogs, why.log(DataFrame)": "KLL quantiles, HyperLogLog, frequent items, moments, types; a new profile",
    "whylogs, track(DataFrame)": "as why.log, into one profile",
    "whylogs, track(row)": "as why.log, into one profile",
    "river, ADWIN": "an adaptive window over the mean; a verdict at each value; no reference",
    "river, PageHinkley": "a sequential test of the mean; a verdict at each value; no reference",
    "river, KSWIN": "a KS test of 30 in the last 100 values at each value; no reference",
    "river, sketch.Histogram(20)": "an adaptive histogram",
    "Kedge": "PSI and JS less chance, moments, faults, significance (BH), halves, causes, wording, from counts",
    "whylogs, KS of two profiles": "KS from quantile sketches at p < 0.05 a feature, no correction, from profiles",
    "Evidently, DataDriftPreset": "normed Wasserstein over 0.1, and what its report shows, from raw rows",
    "Evidently, DataDriftPreset, PSI": "PSI over 0.1, and what its report shows, from raw rows",
}
"""By tool: it is not the same thing, so it is said."""
COUNTED_BY: Final = {"Kedge": (BASE, 1024), "whylogs, KS of two profiles": ("whylogs, why.log(DataFrame)", None)}
"""Reports that are made of counts or profiles: by whom those were made, at how many rows a call (None: all)."""


class DriftError(BenchmarkError):
    """A program of this comparison failed; its last line."""


def run(*, quick: bool) -> tuple[Table, ...]:
    """Run every program. Raises `BenchmarkError` where Kedge's own fails; a peer's failure is a note."""
    rows = QUICK_ROWS if quick else ROWS
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    files = model.make(ROOT / "build/bench/model")
    with tempfile.TemporaryDirectory(prefix="kedge-drift-") as name:
        _write_data(Path(name), rows)
        repeats = "1" if quick else "3"
        found += _program(sys.executable, "kedge", name, repeats, str(files.watched))
        for peer in PEERS:
            try:
                found += _program(environments.python(peer), peer, name, "1" if peer == "evidently" else repeats)
            except (InstallError, DriftError, subprocess.SubprocessError) as error:
                notes.append(f"{peer} is not measured: {error}.")
    versions = ", ".join(f"{peer} {environments.version(peer, peer)}" for peer in PEERS)
    return (
        counting([row for row in found if row["kind"] == "count"], (f"Peers: {versions}.", *notes)),
        reports(found, rows),
    )


def counting(found: Iterable[dict[str, Any]], notes: tuple[str, ...] = ()) -> Table:
    """CPU of counting a value, and how many times Kedge's native kernel's at as many rows a call.

    Args:
        found: rows of kind "count".
        notes: below the table.
    """
    rows = sorted(found, key=lambda row: (row["batch"], row["ns"]))
    base = {row["batch"]: row["ns"] for row in rows if row["tool"] == BASE}
    cells: list[tuple[Cell, ...]] = [
        (
            row["tool"],
            row["batch"],
            row["ns"],
            row["ns"] / base[row["batch"]] if row["batch"] in base else "",
            row["mb"],
            COMPUTES[row["tool"]],
        )
        for row in rows
    ]
    columns = ("called from Python", "rows a call", "CPU ns a value", f"times {BASE}", "memory, MB", "computes")
    least = "The least CPU of all runs, all threads; memory is by how much the peak of the process grew."
    return Table(COUNTING, columns, tuple(cells), (least, *notes))


def reports(found: Iterable[dict[str, Any]], rows: int) -> Table:
    """CPU of judging `rows` rows against 20,000: of the report, and with the counting that it is made of."""
    found = list(found)
    counted = {
        (row["tool"], None if row["batch"] == rows else row["batch"]): row["ns"] * rows * model.FEATURES / 1e9
        for row in found
        if row["kind"] == "count"
    }
    cells: list[tuple[Cell, ...]] = []
    for row in (row for row in found if row["kind"] == "report"):
        before = counted.get(COUNTED_BY[row["tool"]], 0.0) if row["tool"] in COUNTED_BY else 0.0
        right = sum(name in _moved() for name in row["drifted"])
        said = f"{right} of {MOVED}, {len(row['drifted']) - right} false"
        cells.append(
            (row["tool"], 1e3 * row["seconds"], 1e3 * (before + row["seconds"]), row["mb"], said, COMPUTES[row["tool"]])
        )
    columns = (
        f"{rows:,} rows against {model.REFERENCE_ROWS:,}",
        "CPU ms, report",
        "CPU ms, from raw rows",
        "memory, MB",
        "said to have moved",
        "computes",
    )
    said = (
        f"{MOVED} of {model.FEATURES} features moved by half a standard deviation. From raw rows is the report and the "
        "counting or profiling of current before it; Kedge's and whylogs' reference was counted beforehand, once."
    )
    return Table(REPORTS, columns, tuple(cells), (said,))


def _program(interpreter: str, name: str, *arguments: str) -> list[dict[str, Any]]:
    command = [interpreter, str(PROGRAMS / f"{name}_drift.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_SECONDS)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise DriftError(f"{name}: {said[-1] if said else f'status {done.returncode}'}")
    rows: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return rows


def _write_data(directory: Path, rows: int) -> None:
    """The rows that the bundle's reference was counted from, and as many others, of which some features moved."""
    x = model.rows(model.REFERENCE_ROWS + rows)
    current = x[model.REFERENCE_ROWS :].copy()
    current[:, :MOVED] += 0.5
    np.save(directory / "reference.npy", x[: model.REFERENCE_ROWS])
    np.save(directory / "current.npy", current)


def _moved() -> set[str]:
    return {f"x{index:02}" for index in range(MOVED)}
