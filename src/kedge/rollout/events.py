"""What happened, newest last: in the database for later, in memory for those who wait."""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from kedge.rollout.states import State
from kedge.rollout.values import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge.rollout.book import Execute

KEPT: Final = 10_000
"""Events that can be asked for; the audit log has all."""


class Events:
    """A bounded history. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._next = 1

    def restore(self, execute: Execute) -> None:
        """Read those of earlier runs. Raises `ValueError` where a row is not what `save` writes."""
        rows = execute("SELECT id, body FROM event ORDER BY id").fetchall()
        with self._changed:
            self._kept.extend(_event(number, body) for number, body in rows)
            self._next = rows[-1][0] + 1 if rows else 1

    def numbered(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """These events with the numbers they will have; for whoever holds the manager's lock."""
        with self._changed:
            return tuple(_at(event, self._next + i) for i, event in enumerate(events))

    def save(self, execute: Execute, events: Iterable[Event]) -> None:
        """Write them, inside a transaction."""
        for event in events:
            body = {name: value for name, value in vars(event).items() if name != "number"}
            execute("INSERT INTO event (id, body) VALUES (?, ?)", (event.number, json.dumps(body)))
            execute("DELETE FROM event WHERE id <= ?", (event.number - KEPT,))

    def tell(self, events: Iterable[Event]) -> None:
        """They have happened: wake those who wait."""
        with self._changed:
            for event in events:
                self._kept.append(event)
                self._next = event.number + 1
            self._changed.notify_all()

    def after(self, number: int) -> tuple[Event, ...]:
        """Those with a higher number, oldest first."""
        with self._changed:
            return tuple(event for event in self._kept if event.number > number)

    def wait(self, number: int, timeout: float) -> tuple[Event, ...]:
        """As `after`, once there are any; empty after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._next > number + 1, timeout)
        return self.after(number)


def _at(event: Event, number: int) -> Event:
    return Event(**{**vars(event), "number": number})


def _event(number: int, body: str) -> Event:
    said = json.loads(body)
    states = {name: None if said[name] is None else State(said[name]) for name in ("previous", "next")}
    return Event(**{**said, **states, "number": number})
