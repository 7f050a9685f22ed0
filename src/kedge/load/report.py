"""What a load run found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from kedge.errors import GRPC_STATUSES

if TYPE_CHECKING:
    from kedge._load import Histogram
    from kedge.load.plan import Plan

PRECISION: Final = 2**-8
"""A percentile is never below the true one, and at most by this part above it."""
LATE: Final = 0.001
"""Seconds after its time from which a request counts as late by the generator's own fault."""
TOO_MANY: Final = 0.01
"""Share of late (or waiting) requests from which the figures are the client's (or the streams'), not the server's."""
FAILURES: Final = ("malformed", "reset", "refused", "connection", "unanswered", "expired", "unsent")
"""Why a request has no grpc-status, in the order of the generator's counts."""
MAX_TEXT: Final = 200
SHORTEST: Final = 0.001
"""Seconds of a stretch, so that its rates are numbers."""


@dataclass(frozen=True)
class Latency:
    """A distribution of times, in seconds; zeros where there were none. Percentiles within `PRECISION`."""

    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, counts: Histogram) -> Latency:
        """Of counts in nanoseconds."""
        p50, p90, p99, p999 = (counts.at(share) / 1e9 for share in (0.5, 0.9, 0.99, 0.999))
        return cls(counts.count, counts.mean / 1e9, counts.min / 1e9, p50, p90, p99, p999, counts.max / 1e9)


@dataclass(frozen=True)
class Origin:
    """Who answered OK: a bundle (empty from other servers than Kedge), the version it says, and how often."""

    bundle: str
    version: str
    count: int


@dataclass(frozen=True)
class Interval:
    """A stretch of a run, by when things happened.

    Attributes:
        start: seconds from the beginning of the run.
        seconds: how long it is; the last one may be cut short.
        planned, sent: requests that came due, and that were sent.
        ok, shed, failed: answered OK, with RESOURCE_EXHAUSTED, and otherwise or not at all.
        p50, p99: of the OK ones, seconds from the intended time, within 3 %.
    """

    start: float
    seconds: float
    planned: int
    sent: int
    ok: int
    shed: int
    failed: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Report:
    """What a load run found. Every planned request is in `statuses` or in `failures`, once.

    Attributes:
        address: of the server.
        plan: what was to be done.
        planned: requests that came due.
        sent: those of them that were sent.
        statuses: answers by name of their grpc-status.
        failures: requests without one, by why (see `FAILURES`).
        texts: the first message of each status that is not OK, and of other failures.
        good: OK within the deadline, from the intended time; all OK ones without a deadline.
        latency: of OK answers, from the intended time: what a caller would have waited.
        service: of OK answers, from the time they were really sent.
        other_latency: of answers with another status, from the intended time.
        other_service: of those, from the time they were really sent.
        lag: from the intended time until the generator took the request up.
        late: taken up more than `LATE` after their time.
        waited: found no free stream when they were due.
        origins: who answered.
        intervals: the run by stretches of `interval_seconds`.
        seconds: from the first to the last request or answer.
        bytes_in, bytes_out: of all connections, with HTTP/2's own.
        reconnects: connections that broke and were dialled again.
        client_cpu: CPU seconds of the generator.
        interrupted: it was stopped before its end.
        lost: a thread of the generator gave up all of its connections before the end.
    """

    address: str
    plan: Plan
    planned: int
    sent: int
    statuses: dict[str, int]
    failures: dict[str, int]
    texts: dict[str, str]
    good: int
    latency: Latency
    service: Latency
    other_latency: Latency
    other_service: Latency
    lag: Latency
    late: int
    waited: int
    origins: tuple[Origin, ...]
    intervals: tuple[Interval, ...]
    interval_seconds: float
    seconds: float
    bytes_in: int
    bytes_out: int
    reconnects: int
    client_cpu: float
    interrupted: bool
    lost: bool

    @property
    def ok(self) -> int:
        """Requests answered OK."""
        return self.statuses.get("OK", 0)

    @property
    def answered(self) -> int:
        """Requests with a grpc-status."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """OK answers a second."""
        return self.ok / self.seconds if self.seconds else 0.0

    @property
    def goodput(self) -> float:
        """OK answers within the deadline, a second."""
        return self.good / self.seconds if self.seconds else 0.0

    @property
    def errors(self) -> float:
        """Share of the planned requests that were not answered OK."""
        return 1 - self.ok / self.planned if self.planned else 0.0

    @property
    def client_limited(self) -> bool:
        """The generator was too slow for its own schedule: the figures measure it and not the server."""
        return self.late > TOO_MANY * self.planned

    @property
    def streams_limited(self) -> bool:
        """Requests waited for a stream: the bound of `Plan.connections` x `Plan.streams` (or the server's) was met."""
        return self.waited > TOO_MANY * self.planned

    def json(self) -> dict[str, Any]:
        """As JSON has it; times in seconds."""
        derived = ("ok", "answered", "rate", "goodput", "errors", "client_limited", "streams_limited")
        return asdict(self) | {name: getattr(self, name) for name in derived}


def from_tally(address: str, plan: Plan, tally: dict[str, Any], *, interrupted: bool) -> Report:
    """The report of what the generator counted."""
    width, seconds = tally["interval_seconds"], tally["ended_ns"] / 1e9
    texts = {GRPC_STATUSES[code]: _text(text) for code, text in enumerate(tally["texts"]) if code and text}
    texts |= {
        name: _text(tally[key])
        for name, key in (("malformed", "malformed_text"), ("connection", "broken_text"))
        if tally[key]
    }
    return Report(
        address=address,
        plan=plan,
        planned=tally["planned"],
        sent=tally["sent"],
        statuses={GRPC_STATUSES[code]: count for code, count in enumerate(tally["statuses"]) if count},
        failures={name: count for name, count in zip(FAILURES, tally["failures"], strict=True) if count},
        texts=texts,
        good=tally["good"],
        latency=Latency.of(tally["latency"]),
        service=Latency.of(tally["service"]),
        other_latency=Latency.of(tally["other_latency"]),
        other_service=Latency.of(tally["other_service"]),
        lag=Latency.of(tally["lag"]),
        late=tally["late"],
        waited=tally["waited"],
        origins=tuple(
            Origin(_text(bundle), _text(version), count)
            for bundle, version, count in sorted(tally["origins"], key=lambda one: -one[2])
            if count
        ),
        intervals=tuple(
            _interval(at * width, min(width, seconds - at * width), one) for at, one in enumerate(tally["intervals"])
        ),
        interval_seconds=width,
        seconds=seconds,
        bytes_in=tally["bytes_in"],
        bytes_out=tally["bytes_out"],
        reconnects=tally["reconnects"],
        client_cpu=tally["cpu_ns"] / 1e9,
        interrupted=interrupted,
        lost=tally["lost"],
    )


def _interval(start: float, seconds: float, one: dict[str, Any]) -> Interval:
    counts = {name: one[name] for name in ("planned", "sent", "ok", "shed", "failed")}
    length = max(seconds, SHORTEST)
    return Interval(start, length, **counts, p50=one["latency"].at(0.5) / 1e9, p99=one["latency"].at(0.99) / 1e9)


def _text(sent: bytes) -> str:
    """Words of a server that is not trusted: decoded, on one line, without control characters, cut."""
    text = unquote_to_bytes(sent).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_TEXT]
