"""Kedge and its peers, all running, loaded in turns by the same requests: ratios first."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.load.field import NATIVE, PORTABLE, AnswerError, Field, Measured
from benchmarks.load.h2load import Shape
from benchmarks.load.process import ROOT, StartError
from benchmarks.load.subjects import Kedge
from benchmarks.peers import environments
from benchmarks.peers.answers import SAMPLE, Oracle
from benchmarks.peers.environments import InstallError
from benchmarks.peers.ratio import Ratio
from benchmarks.peers.subjects import starters
from benchmarks.report import Cell, Table

if TYPE_CHECKING:
    from benchmarks.load.subjects import Subject

WIDE: Final = Shape(8, 8)
DEEP: Final = Shape(2, 64)
ALONE: Final = Shape(1, 1)
SHAPES: Final = (WIDE, DEEP, ALONE)
KEDGES: Final = ((NATIVE, "native"), (PORTABLE, "portable"))
FRONT_END: Final = (
    "Triton here is its front end only: tritonserver of the nvidia-pytriton wheel with the model in Python, run by its "
    "Python backend in one process or two (x 2), or behind PyTriton. Triton's own ONNX Runtime backend, which is not "
    "on the package index, was not measured."
)
RATIOS: Final = "Serving: Kedge over its peers"
FIGURES: Final = "Serving: figures"
OVER: Final = " over "
"""Between the two names of a ratio."""

Runs = dict[tuple[str, Shape], list[Measured]]


@dataclass(frozen=True)
class Effort:
    """Turns of all servers, and seconds of each run."""

    turns: int
    seconds: float


QUICK: Final = Effort(2, 0.2)
FULL: Final = Effort(7, 0.5)


class Peers(Field):
    """Both planes and every peer that can be had; why one cannot is a note."""

    def verify(self) -> None:
        """Ask every server for the sample again. Raises `AnswerError`."""
        for name, subject in self.subjects.items():
            if len(self._oracle.check(name, subject.address)) != len(self._answers[name]):
                raise AnswerError(f"{name} answers the same request with another length than at the start")
            self._sent[name] = self._sent.get(name, 0) + SAMPLE

    def _start(self) -> None:
        self._oracle = Oracle(self._files.model)
        for name, plane in KEDGES:
            try:
                self._admit(Kedge(name, plane, self._files.watched, self._directory / plane))
            except StartError as error:
                self.notes.append(f"{name} is not measured: {error}.")
        for name, start in starters(self._directory, self._files.model).items():
            try:
                self._admit(start())
            except (StartError, InstallError) as error:
                self.notes.append(f"{name} is not measured: {error}.")

    def _admit(self, subject: Subject) -> None:
        """Only who answers rightly is counted."""
        self._enter(subject)
        self._answers[subject.name] = self._oracle.check(subject.name, subject.address)
        self._sent[subject.name] = SAMPLE


def run(*, quick: bool) -> tuple[Table, ...]:
    """Start every server, load them in turns, end them.

    Raises:
        BenchmarkError: a server does not answer as it must.
    """
    subprocess.run([str(ROOT / ".ci/system-packages"), "h2load:nghttp2-client"], check=True)
    effort = QUICK if quick else FULL
    files = model.make(ROOT / "build/bench/model")
    runs: Runs = {}
    with tempfile.TemporaryDirectory(prefix="kedge-peers-") as name, Peers(Path(name), files) as servers:
        names = list(servers.subjects)
        for shape in SHAPES:
            for turn in range(effort.turns):
                for subject in names if turn % 2 == 0 else reversed(names):
                    runs.setdefault((subject, shape), []).append(servers.measure(subject, shape, effort.seconds))
        servers.verify()
        peaks = {subject: servers.subjects[subject].process.peak_bytes() for subject in names}
        notes = tuple(servers.notes)
    return _ratios(runs, names, effort.turns, notes), _figures(runs, names, peaks)


def _ratios(runs: Runs, names: list[str], turns: int, notes: tuple[str, ...]) -> Table:
    kedges = [name for name, _ in KEDGES if name in names]
    rows = []
    for kedge in kedges:
        for peer in names:
            if peer in kedges:
                continue

            ratios = [_times(runs, kedge, peer, "rate", shape) for shape in (WIDE, DEEP)]
            ratios += [_times(runs, peer, kedge, "cpu_us", shape) for shape in (WIDE, DEEP)]
            ratios.append(_times(runs, peer, kedge, "median_us", ALONE))
            rows.append((f"{kedge}{OVER}{peer}", *map(str, ratios)))
    columns = (
        "times better, median (lowest - highest)",
        *(f"{what}, {shape}" for what in ("requests a second", "server CPU a request") for shape in (WIDE, DEEP)),
        f"median latency, {ALONE}",
    )
    said = (
        f"{turns} turns. How many times more requests a second Kedge answers, and how many times more CPU and time the "
        f"peer takes: above 1 is better for Kedge everywhere. {FRONT_END}"
    )
    return Table(RATIOS, columns, tuple(rows), (said, _versions(), *notes))


def _times(runs: Runs, above: str, below: str, metric: str, shape: Shape) -> Ratio:
    a, b = ([getattr(run, metric) for run in runs[name, shape]] for name in (above, below))
    return Ratio.of(a, b)


def _figures(runs: Runs, names: list[str], peaks: dict[str, int]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        row: list[Cell] = [name]
        for shape in (WIDE, DEEP):
            row += [
                statistics.median(getattr(run, metric) for run in runs[name, shape]) for metric in ("rate", "cpu_us")
            ]
        alone = runs[name, ALONE]
        row += [statistics.median(run.median_us for run in alone), statistics.median(run.p99_us for run in alone)]
        rows.append((*row, peaks[name] / 1e6))
    columns = (
        "medians",
        *(f"{what}, {shape}" for shape in (WIDE, DEEP) for what in ("req/s", "server CPU us/req")),
        f"median us, {ALONE}",
        f"p99 us, {ALONE}",
        "peak MB",
    )
    return Table(FIGURES, columns, tuple(rows), ("Peak MB is summed over a server's processes.",))


def _versions() -> str:
    known = (
        ("grpcio", "grpcio"),
        ("grpcio", "protobuf"),
        ("mlserver", "mlserver"),
        ("pytriton", "nvidia-pytriton"),
        ("grpcio", "onnxruntime"),
    )
    return "Peers: " + ", ".join(f"{package} {environments.version(name, package)}" for name, package in known) + "."
