"""Health.Watch: the state of the server or of a model, now and at every change."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kedge.proto import health as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.plane.cold.facts import Facts


class Watchers:
    """Open Watch calls.

    Args:
        facts: the state.
        send: `send(call, payload)`.
    """

    def __init__(self, facts: Facts, send: Callable[[int, bytes], None]) -> None:
        self._facts = facts
        self._send = send
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[str, str]] = {}

    def add(self, call: int, request: pb.HealthCheckRequest) -> None:
        """Answer with the state now, and from now on with every change."""
        with self._lock:
            self._watched[call] = (request.service, "")
        self.refresh()

    def remove(self, call: int) -> None:
        """Forget a call that ended."""
        with self._lock:
            self._watched.pop(call, None)

    def refresh(self) -> None:
        """Tell every watcher whose state is another one than it was last told. Thread-safe."""
        with self._lock:
            ready = self._facts.ready()
            models = {route.model for route in self._facts.table().routes}
            for call, (service, told) in self._watched.items():
                if service and service not in models:
                    now = "SERVICE_UNKNOWN"
                else:
                    now = "SERVING" if ready and models else "NOT_SERVING"
                if now != told:
                    self._watched[call] = (service, now)
                    status = pb.HealthCheckResponse.ServingStatus.Value(now)
                    self._send(call, pb.HealthCheckResponse(status=status).SerializeToString())
