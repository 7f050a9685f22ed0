"""A SQLite file whose changes are made together or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from kedge.errors import Code, KedgeError
from kedge.monitor.outcomes.tables import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class OutcomesError(KedgeError):
    """Outcomes cannot be read or written."""

    code = Code.UNAVAILABLE


class File:
    """The file. Thread-safe; every query is one transaction, or part of the one that `transaction` holds open.

    Args:
        path: of the SQLite file; made if missing.

    Raises:
        OutcomesError: it cannot be used, or was written by a newer Kedge.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            for number, step in list(enumerate(STEPS, 1))[version:]:
                self._connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT")
        except sqlite3.Error as error:
            raise OutcomesError(f"cannot use '{path}' for outcomes: {error}") from error
        if version > len(STEPS):
            self._connection.close()
            raise OutcomesError(
                f"'{path}' was written by a newer Kedge (schema {version}, this one knows {len(STEPS)})"
            )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together when it ends, or not at all where it raises."""
        with self._lock, self.guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """What goes wrong inside is said as an `OutcomesError`."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise OutcomesError(f"outcomes in '{self._path}': {error}; free space or repair, then report again") from (
                error
            )

    def all(self, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        with self._lock, self.guarded():
            return self._connection.execute(query, parameters).fetchall()

    def put(self, query: str, parameters: tuple[object, ...]) -> None:
        """Write, as part of the transaction that is open."""
        self._connection.execute(query, parameters)

    def put_many(self, query: str, rows: Iterable[tuple[object, ...]]) -> None:
        """The same for many rows."""
        self._connection.executemany(query, rows)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
