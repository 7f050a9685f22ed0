"""Refused commands in the audit log: who tried what. At a bounded rate, so that nobody can fill the log by trying."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from kedge.admin.access import METHODS
from kedge.audit.record import compose
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.admin.access import DeniedError
    from kedge.audit.record import Draft

ACTION: Final = "admin.denied"
BURST: Final = 20
"""Records before the rate counts."""
EVERY: Final = 60.0
"""Seconds a record costs after that: at most 1,440 a day, of well under 1 KiB each."""

log = logging.getLogger(__name__)


class Refusals:
    """Records refused commands. Thread-safe; never raises, since the call is refused whatever the log does.

    Args:
        append: to the audit log.
        clock: seconds, of any origin.
    """

    def __init__(self, append: Callable[[Draft], object], clock: Callable[[], float]) -> None:
        self._append = append
        self._clock = clock
        self._lock = threading.Lock()
        self._left = float(BURST)
        self._at = clock()
        self._unrecorded = 0

    def note(self, path: str, error: DeniedError) -> None:
        """Record a call of ``service/method`` that was refused, if it would have changed something."""
        if not METHODS[path].command:
            return
        with self._lock:
            now = self._clock()
            self._left = min(BURST, self._left + max(0.0, now - self._at) / EVERY)
            self._at = now
            if self._left < 1:
                self._unrecorded += 1
                return
            self._left -= 1
            unrecorded, self._unrecorded = self._unrecorded, 0
        details = {"method": path, "status": error.code.name, "unrecorded_before": unrecorded}
        try:
            self._append(compose(action=ACTION, actor=error.actor, rationale=str(error)[:1024], details=details))
        except KedgeError:
            log.exception("a refused call could not be recorded", extra={"data": details})
