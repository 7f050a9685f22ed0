"""Flights sent to a server as it stands, and what it says of them: its drift reports and its verdicts."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from kedge.client import AdminClient
from kedge.demo import flights
from kedge.demo.replay import replay
from kedge.errors import KedgeError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmarks.timeline.season import Part
    from kedge.demo.commands import Server
    from kedge.demo.train import Model

A_LOOK: Final = 1_000
"""Flights sent between two looks of the evaluator, which are a second apart: about a day's."""
SETTLE_SECONDS: Final = 2.5
"""After the last flight of a part: the evaluator looks again."""


@dataclass(frozen=True)
class Column:
    """What the server said of one part.

    Attributes:
        name, rows, broken: of the part.
        cells: by feature: PSI*, the line it warns at, verdict, cause and test, of the drift report over the part.
        found: by ``subject name``: what the evaluator said while the part was sent, and flights of it until then.
    """

    name: str
    rows: int
    broken: str
    cells: dict[str, dict[str, Any]]
    found: dict[str, dict[str, Any]]


class Play:
    """One server with its client and its watcher. Used as a context.

    Args:
        server: under way; its clock is the real one.
        model: that it serves.
    """

    def __init__(self, server: Server, model: Model) -> None:
        self._server = server
        self._model = model
        self._admin = AdminClient(server.admin)
        self._sent = 0
        self._heard: list[tuple[int, pb.Standing]] = []
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()
        self._watcher.join()

    def part(self, part: Part) -> Column:
        """Send a part and ask about it."""
        self._send(part.before)
        if len(part.before):
            self._admin.drift(self._model.name)  # closes the pane under way: none holds flights of both sides
        since, start = time.time(), self._sent
        self._heard.clear()
        self._send(part.rows)
        report = self._admin.drift(self._model.name, since)
        if report.rows != len(part.rows):
            raise KedgeError(f"{part.name}: {len(part.rows):,} flights were sent, the report is about {report.rows:,}")
        found: dict[str, dict[str, Any]] = {}
        for sent, item in self._heard:
            verdict = {"verdict": pb.Verdict.Name(item.verdict), "cause": pb.Cause.Name(item.cause), "test": item.test}
            found.setdefault(f"{item.subject} {item.name}", {"after": sent - start, **verdict})
        return Column(part.name, report.rows, part.broken, _cells(report), found)

    def _send(self, rows: pa.Table) -> None:
        for start in range(0, len(rows), A_LOOK):
            begun = time.monotonic()
            piece = rows.slice(start, A_LOOK)
            replay(
                self._server.grpc, self._model.name, self._model.output,
                table=piece, time=flights.TIME, advance=lambda _: None,
            )  # fmt: skip
            self._sent += len(piece)
            time.sleep(max(0.0, begun + 1.0 - time.monotonic()))
        time.sleep(SETTLE_SECONDS)

    def _watch(self) -> None:
        with contextlib.suppress(KedgeError):  # closed: there is nothing more to hear
            for message in self._admin.watch(self._model.name):
                problems = [item for item in message.standings if item.verdict in (pb.WARN, pb.CRITICAL)]
                self._heard += [(self._sent, item) for item in problems]


def _cells(report: pb.DriftReport) -> dict[str, dict[str, Any]]:
    return {
        line.name: {
            "psi": line.psi,
            "warn": line.psi_warn,
            "verdict": pb.Verdict.Name(line.verdict),
            "cause": pb.Cause.Name(line.cause),
            "test": line.test,
        }
        for line in report.lines
        if line.subject == "feature"
    }
