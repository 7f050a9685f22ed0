"""Drive a server with Debian's h2load, and read what it prints."""

from __future__ import annotations

import re
import statistics
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.report import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path

GRPC: Final = ("content-type: application/grpc", "te: trailers")
TIMEOUT_SECONDS: Final = 120


class LoadError(BenchmarkError):
    """h2load saw something else than n whole answers; the figure does not count."""


@dataclass(frozen=True)
class Shape:
    """How many connections, and how many streams at a time on each."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True)
class Load:
    """What h2load saw.

    Attributes:
        requests: all answered with status 2xx.
        seconds: from the first to the last.
        data_bytes: in DATA frames of all answers: gRPC's five bytes of frame included, and an error has none.
        microseconds: of each request, where a log was asked for.
    """

    requests: int
    seconds: float
    data_bytes: int
    microseconds: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def median_us(self) -> float:
        return statistics.median(self.microseconds)

    @property
    def p99_us(self) -> float:
        return sorted(self.microseconds)[int(len(self.microseconds) * 0.99)]


def run(
    url: str, shape: Shape, requests: int, *, body: Path | None, log: Path | None = None, pace: float = 0.0
) -> Load:
    """Send `requests` requests and wait for all answers.

    Args:
        body: a gRPC message with its five bytes of frame, POSTed; None GETs.
        log: file for the time of each request; asked for only with one stream, because writing it costs the client.

    Raises:
        LoadError: not every request was answered with status 2xx.
    """
    command = ["h2load", "-t", "1", "-n", f"{requests}", "-c", f"{shape.connections}", "-m", f"{shape.streams}"]
    if body is not None:
        command += ["-d", str(body)] + [argument for header in GRPC for argument in ("-H", header)]
    if pace:
        command += [f"--rps={pace / shape.connections:g}"]
    if log is not None:
        log.unlink(missing_ok=True)  # h2load appends
        command += [f"--log-file={log}"]
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS).stdout
    succeeded = int(_find(r"(\d+) succeeded", output))
    good = int(_find(r"status codes: (\d+) 2xx", output))
    if not succeeded == good == requests:
        raise LoadError(f"{url}: {succeeded} of {requests} requests were answered, {good} with status 2xx")
    times: tuple[int, ...] = ()
    if log is not None:
        times = tuple(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    return Load(
        requests,
        _seconds(_find(r"finished in ([0-9.]+(?:us|ms|s|m|h))", output)),
        int(_find(r"\((\d+)\) data", output)),
        times,
    )


def _find(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    if match is None:
        raise LoadError(f"h2load did not print {pattern!r}: {output.strip()[-300:]}")
    return match[1]


def _seconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]
