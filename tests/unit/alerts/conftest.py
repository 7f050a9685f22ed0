from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from kedge_testing.receiver import Receiver

from kedge.alerts.database import Database
from kedge.alerts.model import Cause, Finding, Origin, Severity
from kedge.bundle.manifest import Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWNERS = Owners(data="weather@x", feature="features@x", model="models@x", platform="sre@x", compliance="audit@x")


@dataclass
class Clock:
    """Stands still until it is told otherwise."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def origin() -> Origin:
    return Origin("flights", "1.0.0", "ab" * 32, OWNERS)


@pytest.fixture
def finding() -> Callable[..., Finding]:
    def make(
        subject: str = "feature temp",
        severity: Severity = Severity.WARNING,
        cause: Cause = Cause.INPUT_DRIFT,
        summary: str = "temp drifted",
        description: str = "mean 3 -> 20",
    ) -> Finding:
        return Finding(cause, subject, severity, summary, description)

    return make


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "alerts.db")
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Start a server; all are stopped with the test."""
    started: list[Receiver] = []

    def start(*args: object, **kwargs: object) -> Receiver:
        started.append(Receiver(*args, **kwargs))
        return started[-1]

    yield start
    for each in started:
        each.close()
