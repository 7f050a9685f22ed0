"""Logs with a clock and randomness of their own, and keys from fixed seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import files
from kedge.audit.clock import Moment
from kedge.audit.note import Signer, Verifier
from kedge.audit.reader import Reader
from kedge.audit.record import Actor, Draft, Verdict, decimal
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.audit.findings import Report
    from kedge.audit.log import AuditLog

START_NS = 1_800_000_000_000_000_000


@dataclass
class Clock:
    """One second a reading."""

    now: int = START_NS

    def __call__(self) -> Moment:
        self.now += 1_000_000_000
        return Moment(self.now, "test")


@dataclass
class Random:
    """SHA-256 of a counter."""

    count: int = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.sha256(str(self.count).encode()).digest()[:size]


@dataclass
class State:
    """A state directory and its log."""

    directory: Path
    clock: Clock = field(default_factory=Clock)
    random: Random = field(default_factory=Random)
    connections: list[sqlite3.Connection] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.directory / files.DATABASE

    @property
    def second(self) -> SecondFile:
        return SecondFile(self.directory / files.CHECKPOINTS)

    def open(self, witness: Signer | None = None) -> AuditLog:
        connection = files.connect(self.directory)
        self.connections.append(connection)
        return files.open_log(
            self.directory, connection, software="kedge test", witness=witness, clock=self.clock, randomness=self.random
        )

    def close(self) -> None:
        while self.connections:
            self.connections.pop().close()

    def verify(self, *, second: bool = True, witnesses: tuple[Verifier, ...] = ()) -> Report:
        lines = self.second.lines() if second else None
        with Reader(self.database) as log:
            return verify(log, lines, pinned=files.known_keys(self.directory), witnesses=witnesses)


def signer(name: str, seed: int) -> Signer:
    return Signer(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@pytest.fixture
def make_signer() -> Callable[[str, int], Signer]:
    return signer


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    made = State(directory)
    yield made
    made.close()


@pytest.fixture
def draft() -> Draft:
    return Draft(
        action="rollout.promoted",
        actor=Actor(name="alice", authenticated_by="token"),
        model="flights",
        bundle="ab" * 32,
        snapshots=("cd" * 32,),
        verdict=Verdict(test="harm", decision="pass", e_value=decimal(21.5), n=1000),
        previous_state="BAKING",
        next_state="LIVE",
        epoch=7,
        rationale="all gates passed",
    )
