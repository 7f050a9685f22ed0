"""The thread that has the counts looked at once a second."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Sampler:
    """Calls `look` every `seconds` until stopped. A failure is logged, and the next look takes in what it missed.

    Args:
        look: takes in what was counted.
        seconds: between two looks.
    """

    def __init__(self, look: Callable[[], object], seconds: float = LOOK_SECONDS) -> None:
        self._look = look
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-sampler", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the look under way."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._look()
            except Exception:
                log.exception("the counts could not be looked at; the next look takes in what this one missed")
