"""Where charts survive a restart: a table in the server's database."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, KedgeError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.monitor.panes import Key

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS monitor_charts (
    bundle TEXT NOT NULL,  -- bundle id, 64 hex digits
    arm TEXT NOT NULL,     -- such as "live"
    hour INTEGER NOT NULL, -- last one taken in, in hours since 1970
    state BLOB NOT NULL,   -- as `kedge.monitor.charts` writes it
    PRIMARY KEY (bundle, arm)
) STRICT
"""
BUSY_SECONDS: Final = 5.0


class ChartStoreError(KedgeError):
    """The state of the charts cannot be read or written."""

    code = Code.FAILED_PRECONDITION


class ChartStore:
    """Chart states by bundle and arm. Thread-safe.

    Args:
        path: of the SQLite file; made if missing. It may hold other tables.

    Raises:
        ChartStoreError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(SCHEMA)
        except sqlite3.Error as error:
            raise ChartStoreError(f"cannot use '{path}' for control charts: {error}") from error

    def load(self, key: Key) -> tuple[int, bytes] | None:
        """The last hour taken in and the state after it, or None. Raises `ChartStoreError`."""
        try:
            with self._lock:
                row = self._database.execute(
                    "SELECT hour, state FROM monitor_charts WHERE bundle = ? AND arm = ?", tuple(key)
                ).fetchone()
        except sqlite3.Error as error:
            raise ChartStoreError(f"cannot read control charts from '{self._path}': {error}") from error
        return None if row is None else (int(row[0]), bytes(row[1]))

    def save(self, key: Key, hour: int, state: bytes) -> None:
        """Replace a state. Raises `ChartStoreError`."""
        try:
            with self._lock:
                self._database.execute(
                    "INSERT INTO monitor_charts (bundle, arm, hour, state) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (bundle, arm) DO UPDATE SET hour = excluded.hour, state = excluded.state",
                    (*key, hour, state),
                )
        except sqlite3.Error as error:
            raise ChartStoreError(f"cannot write control charts to '{self._path}': {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
