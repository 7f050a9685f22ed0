"""The SQLite file of alerts under way and of messages not yet delivered."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from kedge.alerts.errors import AlertStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 1
SCHEMA: Final = (
    """CREATE TABLE alert_schema (
    version INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE alert_active (
    key TEXT PRIMARY KEY,
    source TEXT NOT NULL,      -- who looks for it
    alert TEXT NOT NULL,       -- JSON, as last told
    sequence INTEGER NOT NULL, -- messages made of it so far
    told TEXT NOT NULL         -- JSON: by sink, when last told (seconds since 1970)
) STRICT""",
    """CREATE TABLE alert_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of sending
    sink TEXT NOT NULL,
    key TEXT NOT NULL,
    started REAL NOT NULL,     -- of the alert: with the key, which episode
    kind TEXT NOT NULL,
    queued REAL NOT NULL,      -- seconds since 1970
    notification TEXT NOT NULL -- JSON
) STRICT""",
    "CREATE INDEX alert_outbox_lane ON alert_outbox (sink, key, id)",
)
BUSY_SECONDS: Final = 5.0


class Database:
    """One connection, used by several threads in turn. Alerts and messages change together or not at all.

    Args:
        path: of the file; made if missing. It may hold other tables.

    Raises:
        AlertStoreError: it cannot be used, or was written by a newer Kedge.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise AlertStoreError(f"cannot use '{path}' for alerts: {error}") from error

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows. Raises `AlertStoreError`."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise AlertStoreError(f"cannot read alerts from '{self._path}': {error}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block, durable when it ends; or none of them.

        Raises:
            AlertStoreError: the database refused; nothing was changed.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise AlertStoreError(f"cannot write alerts to '{self._path}': {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alert_schema'").fetchone()
            if known is None:
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO alert_schema VALUES (?)", (SCHEMA_VERSION,))
            (version,) = connection.execute("SELECT max(version) FROM alert_schema").fetchone()
        if version != SCHEMA_VERSION:
            raise AlertStoreError(
                f"'{self._path}' was written by another Kedge: schema {version} of alerts, this one knows "
                f"{SCHEMA_VERSION}"
            )
