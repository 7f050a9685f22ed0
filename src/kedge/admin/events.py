"""`WatchEvents`: what happened to models, from any event on, to each of a bounded number of watchers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from kedge.admin.handlers import Method, Places
from kedge.admin.rollout_messages import event_message
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.admin.handlers import Call
    from kedge.rollout.manager import Rollouts

WATCHERS: Final = 8
"""At once; each holds a thread of the admin port."""
PATIENCE: Final = 1.0
"""Seconds between two looks whether the watcher is still there."""


class Events:
    """Streams of events. Thread-safe.

    Args:
        rollouts: whose events.
    """

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._places = Places(WATCHERS, "watch events")
        self._stopped = threading.Event()

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"WatchEvents": Method(pb.WatchEventsRequest, self.stream, streams=True)}

    def stop(self) -> None:
        """End every stream within a second."""
        self._stopped.set()

    def stream(self, request: pb.WatchEventsRequest, call: Call) -> Iterator[pb.Event]:
        """Answer WatchEvents."""
        with self._places.one():
            after = request.after
            while call.active() and not self._stopped.is_set():
                events = self._rollouts.events(after)
                for event in events:
                    after = event.number
                    if request.model in {"", event.model}:
                        yield event_message(event)
                if events:
                    continue
                if request.once:
                    return
                self._rollouts.wait(after, PATIENCE)
