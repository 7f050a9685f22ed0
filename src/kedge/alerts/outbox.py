"""The outbox: messages on disk until their sink took them, in order, and never more than a bound.

A sink that is down loses nothing until its own bound is reached; other sinks have bounds of their own.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.alerts.model import Kind, Notification

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from kedge.alerts.database import Database

LIMIT: Final = 1000
"""Messages kept for one sink. Against: a sink that is gone for good fills the disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A message that waits.

    Attributes:
        id: place in the queue.
        sink, key: its lane; within one, messages go in order.
    """

    id: int
    sink: str
    key: str


class Outbox:
    """A queue for each sink and alert. Thread-safe.

    Args:
        database: shared with whoever changes alerts, so that both change in one transaction.
        limit: messages kept for one sink.
    """

    def __init__(self, database: Database, limit: int = LIMIT) -> None:
        self._database = database
        self._limit = limit
        self._lock = threading.Lock()
        self._dropped: dict[str, int] = {}

    def put(self, connection: sqlite3.Connection, message: Notification, now: float) -> None:
        """Append a message within the caller's transaction.

        A reminder gives way to whatever says more: it replaces an older reminder, is left out where the alert's first
        message still waits, and goes when the alert escalates or ends.

        Args:
            connection: of the transaction.
            message: for the sink it names.
            now: seconds since 1970.
        """
        alert, lane = message.alert, (message.sink, message.alert.key)
        connection.execute("DELETE FROM alert_outbox WHERE sink = ? AND key = ? AND kind = 'repeated'", lane)
        if message.kind is Kind.REPEATED:
            waiting = "SELECT 1 FROM alert_outbox WHERE sink = ? AND key = ? LIMIT 1"
            if connection.execute(waiting, lane).fetchone():
                return
        connection.execute(
            "INSERT INTO alert_outbox (sink, key, started, kind, queued, notification) VALUES (?, ?, ?, ?, ?, ?)",
            (*lane, alert.started, message.kind.value, now, message.model_dump_json()),
        )
        (count,) = connection.execute("SELECT count(*) FROM alert_outbox WHERE sink = ?", lane[:1]).fetchone()
        if count > self._limit:
            self._make_room(connection, message.sink)

    def heads(self) -> list[Item]:
        """The first message of every lane, oldest first. Raises `AlertStoreError`."""
        rows = self._database.query("SELECT min(id), sink, key FROM alert_outbox GROUP BY sink, key ORDER BY 1")
        return [Item(*row) for row in rows]

    def get(self, item: Item) -> Notification | None:
        """The message, or None if it has gone meanwhile. Raises `AlertStoreError`."""
        rows = self._database.query("SELECT notification FROM alert_outbox WHERE id = ?", (item.id,))
        return Notification.model_validate_json(rows[0][0]) if rows else None

    def remove(self, item: Item) -> None:
        """Forget a message that its sink took or refused for good. Raises `AlertStoreError`."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM alert_outbox WHERE id = ?", (item.id,))

    def keep_only(self, sinks: Collection[str]) -> None:
        """Drop what waits for sinks that the settings no longer name. Raises `AlertStoreError`."""
        for (sink,) in self._database.query("SELECT DISTINCT sink FROM alert_outbox"):
            if sink not in sinks:
                with self._database.transaction() as connection:
                    gone = connection.execute("DELETE FROM alert_outbox WHERE sink = ?", (sink,)).rowcount
                self._drop(sink, gone, "the settings name no such sink any more")

    def waiting(self) -> dict[str, tuple[int, float]]:
        """By sink: messages that wait, and when the oldest was queued. Raises `AlertStoreError`."""
        rows = self._database.query("SELECT sink, count(*), min(queued) FROM alert_outbox GROUP BY sink")
        return {sink: (count, oldest) for sink, count, oldest in rows}

    def dropped(self) -> dict[str, int]:
        """By sink: messages given up since the start because the bound was reached or the sink is no longer named."""
        with self._lock:
            return dict(self._dropped)

    def _make_room(self, connection: sqlite3.Connection, sink: str) -> None:
        """Give up what matters least: a reminder; an alert that came and went unheard; the oldest message."""
        reminder = "DELETE FROM alert_outbox WHERE id = (SELECT min(id) FROM alert_outbox WHERE sink = ? AND kind = ?)"
        if connection.execute(reminder, (sink, Kind.REPEATED.value)).rowcount:
            return
        over = connection.execute(
            "SELECT a.key, a.started FROM alert_outbox a JOIN alert_outbox b USING (sink, key, started) "
            "WHERE a.sink = ? AND a.kind = ? AND b.kind = ? ORDER BY a.id LIMIT 1",
            (sink, Kind.FIRING.value, Kind.RESOLVED.value),
        ).fetchone()
        if over:
            episode = "DELETE FROM alert_outbox WHERE sink = ? AND key = ? AND started = ?"
            gone = connection.execute(episode, (sink, *over)).rowcount
            self._drop(sink, gone, "the outbox is full, and this alert is over")
            return
        oldest = "DELETE FROM alert_outbox WHERE id = (SELECT min(id) FROM alert_outbox WHERE sink = ?)"
        self._drop(sink, connection.execute(oldest, (sink,)).rowcount, "the outbox is full")

    def _drop(self, sink: str, count: int, reason: str) -> None:
        with self._lock:
            self._dropped[sink] = self._dropped.get(sink, 0) + count
        log.error("messages about alerts were dropped", extra={"data": {"sink": sink, "n": count, "reason": reason}})
