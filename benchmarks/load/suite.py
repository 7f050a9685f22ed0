"""The load suite: all servers in turns under the same load, ratios first."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from benchmarks import model
from benchmarks.load.field import (
    AIO,
    CPP,
    NATIVE,
    NATIVE_OFF,
    NGHTTPD,
    NGHTTPD_POST,
    PORTABLE,
    PORTABLE_OFF,
    Field,
    Measured,
)
from benchmarks.load.generator import compare
from benchmarks.load.h2load import Shape
from benchmarks.load.process import ROOT
from benchmarks.load.slow import slow_rows
from benchmarks.report import Cell, Table, ratio_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEEDS: Final = (
    "h2load:nghttp2-client",
    "nghttpd:nghttp2-server",
    "g++:g++",
    "pkg-config:pkg-config",
    "/usr/include/grpcpp/grpcpp.h:libgrpc++-dev",
)
WIDE: Final = Shape(8, 8)
DEEP: Final = Shape(2, 64)
ALONE: Final = Shape(1, 1)
SHAPES: Final = (WIDE, DEEP, ALONE)
SUBJECTS: Final = (NATIVE, PORTABLE, CPP, AIO, NGHTTPD, NGHTTPD_POST)
BARE: Final = "bare ONNX Runtime loop"

Metric = Literal["rate", "cpu_us", "median_us"]
Runs = dict[tuple[str, Shape], list[Measured]]


@dataclass(frozen=True)
class Bar:
    """A ratio that is asked for: `metric` of `subject` over that of `base`, in `shape`; no bound is information."""

    what: str
    subject: str
    base: str
    metric: Metric
    shape: Shape
    least: float | None = None
    most: float | None = None

    def row(self, runs: Runs) -> tuple[Cell, ...] | None:
        """A row of the table of ratios; None where one of the two was not measured."""
        pairs = zip(runs.get((self.subject, self.shape), ()), runs.get((self.base, self.shape), ()), strict=False)
        ratios = [getattr(a, self.metric) / getattr(b, self.metric) for a, b in pairs]
        if not ratios:
            return None
        return ratio_row(f"{self.what}, {self.shape}", ratios, least=self.least, most=self.most)


BARS: Final = (
    Bar("native: requests a second over libgrpc++ echo", NATIVE, CPP, "rate", WIDE, least=2.5),
    Bar("native: requests a second over libgrpc++ echo", NATIVE, CPP, "rate", DEEP),
    Bar("native: requests a second over grpc.aio echo", NATIVE, AIO, "rate", WIDE),
    Bar("native: requests a second over grpc.aio echo", NATIVE, AIO, "rate", DEEP),
    Bar("native: server CPU a request over nghttpd, GET", NATIVE, NGHTTPD, "cpu_us", WIDE, most=2.0),
    Bar("native: server CPU a request over nghttpd, GET", NATIVE, NGHTTPD, "cpu_us", DEEP),
    Bar("native: server CPU a request over nghttpd, same POST", NATIVE, NGHTTPD_POST, "cpu_us", WIDE),
    Bar("native: server CPU a request over libgrpc++ echo", NATIVE, CPP, "cpu_us", WIDE),
    Bar("native: median latency over nghttpd, GET", NATIVE, NGHTTPD, "median_us", ALONE, most=1.3),
    Bar("native: median latency over nghttpd, same POST", NATIVE, NGHTTPD_POST, "median_us", ALONE),
    Bar("native: CPU a request, monitoring on over off", NATIVE, NATIVE_OFF, "cpu_us", WIDE, most=1.08),
    Bar("portable: server CPU a request over grpc.aio echo", PORTABLE, AIO, "cpu_us", WIDE, most=1.7),
    Bar("portable: server CPU a request over grpc.aio echo", PORTABLE, AIO, "cpu_us", DEEP),
    Bar("portable: requests a second over grpc.aio echo", PORTABLE, AIO, "rate", WIDE),
    Bar("portable: median latency over grpc.aio echo", PORTABLE, AIO, "median_us", ALONE),
    Bar("portable: CPU a request, monitoring on over off", PORTABLE, PORTABLE_OFF, "cpu_us", WIDE),
)


@dataclass(frozen=True)
class Effort:
    """Rounds of all subjects, pairs with monitoring on and off, pairs of the slow model; seconds of each run."""

    rounds: int
    pairs: int
    slow_pairs: int
    seconds: float


QUICK: Final = Effort(3, 2, 2, 0.2)
FULL: Final = Effort(9, 12, 15, 1.0)


def run(*, quick: bool) -> tuple[Table, ...]:
    """Start every server, load them in turns, end them.

    Args:
        quick: fewer and shorter turns.

    Raises:
        BenchmarkError: a server does not start, or does not answer as it must.
    """
    subprocess.run([str(ROOT / ".ci/system-packages"), *NEEDS], check=True)
    effort = QUICK if quick else FULL
    files = model.make(ROOT / "build/bench/model")
    runs: Runs = {}
    monitoring: Runs = {}
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as name, Field(Path(name), files) as servers:
        present: list[str] = [subject for subject in SUBJECTS if subject in servers.subjects]
        for shape in SHAPES:
            _turns(servers, present, shape, effort.rounds, effort.seconds, runs)
        bare = statistics.median(servers.loop.rate(effort.seconds) for _ in range(effort.rounds))
        for on, off in ((NATIVE, NATIVE_OFF), (PORTABLE, PORTABLE_OFF)):
            if on in servers.subjects and off in servers.subjects:
                _turns(servers, [on, off], WIDE, effort.pairs, effort.seconds, monitoring)
        servers.verify()
        peaks = {subject: servers.subjects[subject].process.peak_bytes() for subject in present}
        notes = tuple(servers.notes)
    ratios = [bar.row(monitoring if bar.base in (NATIVE_OFF, PORTABLE_OFF) else runs) for bar in BARS]
    planes = [plane for name, plane in ((NATIVE, "native"), (PORTABLE, "portable")) if name in present]
    ratios += [row for plane in planes for row in slow_rows(plane, files, effort.slow_pairs, effort.seconds)]
    clients = (compare(files, effort.rounds, effort.seconds),) if "native" in planes else ()
    columns = ("ratio, connections x streams", "median", "lowest - highest", "pairs", "bar", "met")
    return (
        Table("Ratios", columns, tuple(row for row in ratios if row is not None), notes),
        _figures(runs, present, peaks, bare),
        *clients,
    )


def _turns(  # noqa: PLR0917 - one caller, one line
    servers: Field, names: Sequence[str], shape: Shape, rounds: int, seconds: float, runs: Runs
) -> None:
    """A B C, C B A, A B C ...: nobody always follows the same neighbour, or comes first when the machine is fast."""
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            runs.setdefault((name, shape), []).append(servers.measure(name, shape, seconds))


def _figures(runs: Runs, present: Sequence[str], peaks: Mapping[str, int], bare: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in present:
        row: list[Cell] = [name]
        for shape in (WIDE, DEEP):
            row += [_median(runs, name, shape, "rate"), _median(runs, name, shape, "cpu_us")]
        alone = runs[name, ALONE]
        row += [statistics.median(run.median_us for run in alone), statistics.median(run.p99_us for run in alone)]
        rows.append((*row, peaks[name] / 1e6))
    rows.append((BARE, bare, 1e6 / bare, "", "", "", "", ""))
    columns = (
        "medians",
        *(f"{what}, {shape}" for shape in (WIDE, DEEP) for what in ("req/s", "server CPU us/req")),
        f"median us, {ALONE}",
        f"p99 us, {ALONE}",
        "peak MB",
    )
    return Table("Figures", columns, tuple(rows))


def _median(runs: Runs, name: str, shape: Shape, metric: Metric) -> float:
    return float(statistics.median(getattr(run, metric) for run in runs[name, shape]))
