"""A flipped bit anywhere in the files of a log is found, or has changed nothing that the log says."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from kedge.audit import files
from kedge.audit.errors import AuditError
from kedge.audit.reader import Reader
from kedge.audit.record import SYSTEM, Draft
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 400


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("state")
    database = files.connect(made)
    log = files.open_log(made, database, software="kedge test")
    for epoch in range(6):
        log.append(Draft(action="test.appended", actor=SYSTEM, epoch=epoch, rationale="r" * 300))
    files.rotate(made, log)
    log.append(Draft(action="test.appended", actor=SYSTEM))
    database.close()
    return made


def says(path: Path) -> Any:
    """Everything the log says, read by plain SQLite."""
    database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        return [
            database.execute(sql).fetchall()
            for sql in (
                "SELECT seq, record FROM audit_record ORDER BY seq",
                "SELECT id, size, note, frontier FROM audit_checkpoint ORDER BY id",
                "SELECT name, sql FROM sqlite_master ORDER BY name",
            )
        ]
    finally:
        database.close()


def holds(directory: Path) -> bool:
    try:
        with Reader(directory / files.DATABASE) as log:
            lines = SecondFile(directory / files.CHECKPOINTS).lines()
            return verify(log, lines, pinned=files.known_keys(directory)).ok
    except AuditError:
        return False


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def test_flips_in_the_database(directory: Path) -> None:
    path = directory / files.DATABASE
    whole, expected = path.read_bytes(), says(path)
    assert holds(directory)
    chance = random.Random(6962)
    used = [at for at in range(len(whole)) if whole[at]]
    caught = 0
    try:
        for _ in range(FLIPS):
            path.write_bytes(flipped(whole, chance.choice(used), chance.randrange(8)))
            if holds(directory):
                assert says(path) == expected
            else:
                caught += 1
    finally:
        path.write_bytes(whole)
    assert caught > FLIPS // 2


def test_flips_in_the_second_file(directory: Path) -> None:
    path = directory / files.CHECKPOINTS
    whole = path.read_bytes()
    chance = random.Random(9162)
    try:
        for _ in range(FLIPS // 2):
            at = chance.randrange(len(whole) - 1)  # without its last newline the last line counts as torn
            path.write_bytes(flipped(whole, at, chance.randrange(8)))
            assert not holds(directory), at
    finally:
        path.write_bytes(whole)
