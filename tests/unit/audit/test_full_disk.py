"""A disk that is full, or a process that is killed, leaves no half of a file in the way of what comes after."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kedge.admin import tokens
from kedge.audit import dsse, keys, sidecars
from kedge.audit.counts import CountStore
from kedge.audit.errors import AuditError, KeyFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLED = """
import os, pathlib, signal, sys
from kedge.admin import tokens
from kedge.audit import dsse, keys, sidecars
os.fchmod = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
keys.secret(pathlib.Path(sys.argv[1]))
"""


@contextlib.contextmanager
def full(after: int) -> Iterator[None]:
    """Files take so many bytes and no more: a write stops in the middle, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_key_that_found_no_room_can_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / "pseudonyms.key"
    with full(10), pytest.raises(KeyFileError, match="cannot write key"):
        keys.secret(path)
    assert list(tmp_path.iterdir()) == []
    assert len(keys.secret(path)) == 32


def test_whoever_is_killed_while_making_a_key_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "pseudonyms.key"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert killed.returncode < 0
    assert not path.exists()
    assert len(keys.secret(path)) == 32


def test_counts_that_find_no_room_take_none(tmp_path: Path) -> None:
    counts = CountStore(tmp_path / "counts")
    for _ in range(3):
        with full(100), pytest.raises(AuditError, match="cannot keep counts"):
            counts.put(os.urandom(1000))
    assert [path for path in (tmp_path / "counts").rglob("*") if path.is_file()] == []


def test_half_a_checkpoint_in_the_second_file_is_none(state, draft) -> None:
    log = state.open()
    log.append(draft)
    note, _ = state.second.last()
    length = state.second.length()
    with full(length + 100), pytest.raises(AuditError, match=r"cannot write checkpoints to .*No space left"):
        state.second.append(note, state.clock())
    assert len(list(state.second.lines())) == 2
    log.append(draft)
    assert log.behind is None
    assert len(list(state.second.lines())) == 3


def test_names_of_what_was_written_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_signer) -> None:
    synced: set[int] = set()
    real = os.fsync

    def noted(descriptor: int) -> None:
        real(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    written: list[tuple[str, Callable[[Path], object]]] = [
        ("keys", lambda folder: keys.generate(folder / "build.key")),
        ("counts", lambda folder: CountStore(folder).put(b"counted")),
        ("attestations", lambda folder: sidecars.keep(folder, "", "builder", attestation)),
        ("tokens", lambda folder: tokens.new(folder / "tokens", "ada", "admin")),
        ("revoked", lambda folder: tokens.revoke(folder.with_name("tokens") / "tokens", "ada")),
    ]
    attestation = dsse.sign("text", b"", make_signer("builder", 1).private)
    for name, write in written:
        folder = tmp_path / name
        folder.mkdir()
        synced.clear()
        write(folder)
        where = folder.with_name("tokens") if name == "revoked" else folder
        assert where.stat().st_ino in synced, name
