"""The log as it lies on disk, read and never written: by a process other than the server's, or years later."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from kedge.audit import schema
from kedge.audit.errors import AuditError
from kedge.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


DAMAGED: Final = (sqlite3.Error, UnicodeError)
"""What reading a damaged database raises: SQLite's message about it may quote bytes that are no text."""


class RecordNotFoundError(AuditError):
    """The log has no such record."""

    code = Code.NOT_FOUND


class Reader:
    """One consistent view of a database's log: what is appended meanwhile is not seen.

    Args:
        path: the database.

    Raises:
        AuditError: it cannot be opened, or holds no audit log.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise AuditError(f"no database '{path}'; --state names the directory of a server")
        self.path = path
        # Nobody writes a database without a write-ahead log beside it; then it may even lie on a read-only disk.
        live = path.with_name(f"{path.name}-wal").exists()
        options = "mode=ro" if live else "mode=ro&immutable=1"
        try:
            self._database = sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True, isolation_level=None)
            self._database.text_factory = _lenient
        except sqlite3.Error as error:
            raise AuditError(f"cannot read '{path}': {error}") from error
        try:
            self._database.execute("BEGIN")
            self.schema: dict[str, Any] = dict(self._database.execute(schema.PRESENT).fetchall())
        except DAMAGED as error:
            self._database.close()
            raise AuditError(f"cannot read '{path}': {error}") from error
        if not self.schema:
            self._database.close()
            raise AuditError(f"'{path}' holds no audit log")

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def size(self) -> int:
        """Records in the log, by the number of the last one. Raises `AuditError`."""
        with self._reading():
            (size,) = self._database.execute(schema.SIZE).fetchone()
        return int(size)

    def records(self, first: int = 0) -> Iterator[tuple[Any, Any]]:
        """Rows of sequence and record from `first` on, as they are stored. Raises `AuditError`."""
        yield from self._rows("SELECT seq, record FROM audit_record WHERE seq >= ? ORDER BY seq", first)

    def record(self, sequence: int) -> bytes:
        """The bytes of one record. Raises `AuditError`."""
        size = self.size()
        for found, data in self.records(sequence) if sequence < size else ():
            if found == sequence:
                return bytes(data)
            break
        raise RecordNotFoundError(f"the log has no record {sequence}; it has {size}, from 0")

    def last_checkpoint(self) -> tuple[int, bytes]:
        """Size and note of the newest checkpoint. Raises `AuditError`."""
        for size, note, _ in self._rows(schema.LAST_CHECKPOINT):
            return int(size), bytes(note)
        raise AuditError(f"'{self.path}' holds records and no checkpoint over them; run: kedge audit verify")

    def checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Rows of number, size, note and frontier, as they are stored. Raises `AuditError`."""
        yield from self._rows("SELECT id, size, note, frontier FROM audit_checkpoint ORDER BY id")

    def faults(self) -> list[str]:
        """What SQLite itself finds wrong with the file. Raises `AuditError`."""
        with self._reading():
            rows = self._database.execute("PRAGMA quick_check(5)").fetchall()
        return [str(text) for (text,) in rows if text != "ok"]

    def _rows(self, sql: str, *parameters: int) -> Iterator[Any]:
        with self._reading():
            yield from self._database.execute(sql, parameters)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGED as error:
            raise AuditError(f"'{self.path}' is damaged: {error}") from error


def _lenient(data: bytes) -> str:
    """Text of a damaged database may be anything."""
    return data.decode("utf-8", "replace")
