"""What a server holds for a connection, a request begun, and a bundle; what 10,000 idle connections cost the others."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import yaml

from benchmarks import model
from benchmarks.limits.server import Server, messages
from benchmarks.load.process import Process, python
from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.build import build
from kedge.kernel.snapshot import HEADER, Counts
from kedge.load import Plan
from kedge.load import run as send
from kedge.plane import evidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.bundle.contents import Bundle
    from kedge.load import Report

IDLE: Final = 10_000
RESERVED: Final = 1_000
"""Descriptors left to the processes for all else."""
STREAMING: Final = 100
STREAMS: Final = 100
BUNDLES: Final = 4
RATE: Final = 1_000.0
SETTLE_SECONDS: Final = 0.5
COLUMNS: Final = ("what", "found", "of")


def memory(folder: Path, files: model.Files, bundle: Bundle, *, quick: bool) -> tuple[Table, ...]:
    """Bytes a thing, and latency beside idle connections, on the native plane."""
    _, files_open = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1_000 if quick else IDLE, files_open - RESERVED)
    most = ("--max-connections", str(IDLE + RESERVED))
    server = Server("native", folder / "connections", files.watched, options=most)
    try:
        rows = messages(model.NAME, 1024)
        _light(server, rows)
        before = server.resident_mb()
        with _held(server, STREAMING, STREAMS):  # first: what is freed is kept for the next connections
            begun = (server.resident_mb() - before) * 1e6
        connection, medians, tails = _connections(server, rows, count, turns=1 if quick else 3)
    finally:
        server.stop()
    size = len(Counts.zero(bundle.layout()).words) * 8 + HEADER.size
    found = (
        ("an idle connection, bytes", connection, f"{count:,}"),
        (
            "a request begun and not sent, bytes",
            (begun - STREAMING * connection) / (STREAMING * STREAMS),
            f"{STREAMING * STREAMS:,}, {STREAMS} a connection",
        ),
        ("a bundle of 32 watched features, MB", _bundles(folder, files), f"{BUNDLES} live beside the first"),
        ("counts of a (bundle, arm, epoch), bytes", size, "32 features, 2 classes; one for each thread that counts"),
        ("evidence of the same, bytes", evidence.WORDS * 8, "in a rollout"),
    )
    beside = (ratio_row("median", medians, most=1.2), ratio_row("p99", tails))
    columns = (f"latency at {RATE:,.0f} requests a second", "median", "lowest - highest", "pairs", "bar", "met")
    return (
        Table("What a native server holds, by its resident memory", COLUMNS, found),
        Table(f"Beside {count:,} idle connections, over without them", columns, beside),
    )


def _connections(
    server: Server, rows: list[bytes], count: int, *, turns: int
) -> tuple[float, list[float], list[float]]:
    """Bytes of an idle connection; median and p99 latency beside them over alone."""
    medians, tails, sizes = [], [], []
    for turn in range(turns):
        before = server.resident_mb()
        first = _light(server, rows) if turn % 2 == 0 else None
        with _held(server, count, 0):
            sizes.append((server.resident_mb() - before) * 1e6 / count)
            beside = _light(server, rows)
        time.sleep(SETTLE_SECONDS)
        alone = first or _light(server, rows)
        medians.append(beside.service.p50 / alone.service.p50)
        tails.append(beside.service.p99 / alone.service.p99)
    return max(sizes), medians, tails  # the first one: later ones find memory that was freed


def _light(server: Server, rows: list[bytes]) -> Report:
    report = send(server.grpc, rows, Plan(rate=RATE, duration=1.5, connections=4))
    if report.ok != report.planned:
        raise BenchmarkError(f"a light load was not answered: {report.statuses} {report.failures} {report.texts}")
    return report


def _bundles(folder: Path, files: model.Files) -> float:
    """MB that one more loaded bundle takes."""
    spec = yaml.safe_load(files.watched.with_suffix(".yaml").read_text())
    made = []
    for number in range(BUNDLES):
        path = files.watched.with_name("one-more.yaml")  # paths in it are relative to where it stands
        path.write_text(yaml.safe_dump(spec | {"name": f"more-{number}"}))
        made.append(folder / f"more-{number}.kedge")
        build(path, made[-1])
    sizes = []
    for extra in ([], made):
        server = Server("native", folder / f"state-{len(extra)}", files.watched, *extra)
        sizes.append(server.resident_mb())
        server.stop()
    return (sizes[1] - sizes[0]) / BUNDLES


@contextmanager
def _held(server: Server, connections: int, streams: int) -> Iterator[None]:
    """Connections that say no more.

    Raises:
        BenchmarkError: the server refused some.
    """
    client = Process(python("benchmarks.limits.idle", server.grpc, str(connections), str(streams)))
    try:
        if client.ready != "0":
            raise BenchmarkError(f"{client.ready} of {connections} connections were refused")
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        client.stop()
