"""What a second shard gives, and what a million predictions cost."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.limits.server import Server, messages
from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.load import Plan
from kedge.load import run as send

if TYPE_CHECKING:
    from pathlib import Path

WIDE: Final = 16
"""Rows of a large request, for which the client does little and the server much, but not too much for a shard."""
PART: Final = 0.2
PRICE: Final = 0.05
"""Of a core and hour, in whatever currency: an example."""
USED: Final = 0.5
"""Share of a core that is paid for that is used: an example."""
HOUR: Final = 3600.0


@dataclass(frozen=True)
class Measured:
    """Requests a second, and CPU seconds a request of server and client."""

    rate: float
    server: float
    client: float


class Subject:
    """A server of so many shards. Raises `StartError`."""

    def __init__(self, folder: Path, bundle: Path, shards: int) -> None:
        self._server = Server("native", folder / f"shards-{shards}", bundle, options=("--shards", str(shards)))
        self.stop = self._server.stop

    def measure(self, requests: list[bytes], plan: Plan) -> Measured:
        before = self._server.process.cpu_seconds()
        report = send(self._server.grpc, requests, plan)
        if report.ok != report.planned:
            raise BenchmarkError(f"not all was answered: {report.statuses} {report.failures} {report.texts}")
        server = self._server.process.cpu_seconds() - before
        return Measured(report.rate, server / report.ok, report.client_cpu / report.ok)


def shards(folder: Path, files: model.Files, *, quick: bool) -> tuple[Table, ...]:
    """One shard and two in turns, flat out; then the cost of a prediction."""
    pairs, seconds = (1, 0.5) if quick else (3, 1.5)
    kinds = {1: messages(model.NAME, 4096), WIDE: messages(model.NAME, 256, WIDE)}
    one, two = (Subject(folder, files.watched, count) for count in (1, 2))
    rates: dict[int, list[float]] = {1: [], WIDE: []}
    costs: dict[int, list[float]] = {1: [], WIDE: []}
    singles: dict[int, list[Measured]] = {1: [], WIDE: []}
    calm = []
    try:
        for turn in range(pairs + 1):
            for rows, requests in kinds.items():
                flat_out = Plan(closed=64, connections=8, duration=seconds)
                first, second = (one, two) if turn % 2 else (two, one)
                found = {first: first.measure(requests, flat_out)}
                found[second] = second.measure(requests, flat_out)
                if turn == 0:
                    continue  # to warm up
                rates[rows].append(found[two].rate / found[one].rate)
                costs[rows].append(found[two].server / found[one].server)
                singles[rows].append(found[one])
        pace = PART * statistics.median(each.rate for each in singles[1])
        calm = [one.measure(kinds[1], Plan(rate=pace, duration=seconds, connections=8)) for _ in range(pairs)]
    finally:
        one.stop()
        two.stop()
    return _scaling(rates, costs, singles), _costs(singles, calm)


def _scaling(rates: dict[int, list[float]], costs: dict[int, list[float]], singles: dict[int, list[Measured]]) -> Table:
    rows = []
    for count, values in rates.items():
        of = f"{count} row{'s' * (count > 1)} a request"
        rows += [
            ratio_row(f"{of}: requests a second", values),
            ratio_row(f"{of}: server CPU a request", costs[count]),
        ]
    shares = []
    for count, found in singles.items():
        server, client = (1e6 * statistics.median(getattr(each, who) for each in found) for who in ("server", "client"))
        shares.append(f"{server:.1f} us of the server and {client:.1f} us of the client with {count} a request")
    note = (
        f"CPU a request, one shard: {'; '.join(shares)}. Both ran on the same cores, so that "
        "two of them bound the rate to what both together take of a request."
    )
    return Table(
        "Two shards over one",
        ("ratio", "median", "lowest - highest", "pairs", "bar", "met"),
        rows=tuple(rows),
        notes=(note,),
    )


def _costs(singles: dict[int, list[Measured]], calm: list[Measured]) -> Table:
    found = {
        "one row a request, flat out": statistics.median(each.server for each in singles[1]),
        f"one row a request, at {PART:.0%} of that": statistics.median(each.server for each in calm),
        f"{WIDE} rows a request, flat out": statistics.median(each.server for each in singles[WIDE]) / WIDE,
    }
    rows = tuple((what, 1e6 * cpu, 1e9 * cpu / USED / HOUR * PRICE) for what, cpu in found.items())
    note = (
        f"Price = CPU seconds / share of the cores in use / {HOUR:.0f} x price of a core and hour; here with "
        f"{USED:.0%} in use and {PRICE:g} an hour, to be replaced by your own."
    )
    columns = ("predictions of the benchmark's model", "CPU seconds a million", "price of 1,000 million")
    return Table("What predictions cost", columns, rows, (note,))
