"""Logs of a server: structured lines on standard error, as text or JSON, with a bound on how often one repeats.

A message is a constant text; what varies goes into ``extra={"data": {...}}``. Request bodies are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.config import LogFormat

BURST: Final = 10
PER_SECONDS: Final = 10.0
"""One message (by logger and text) is written at most BURST times every PER_SECONDS; the rest are counted."""
MAX_MESSAGES: Final = 1024
"""Texts remembered for that; past it all are forgotten, so that texts that vary cannot fill memory."""


class RateLimit(logging.Filter):
    """Drops what repeats too often, and says with the next one how many were dropped.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL:
            return True
        key, now = (record.name, str(record.msg)), self._clock()
        with self._lock:
            if len(self._seen) >= MAX_MESSAGES and key not in self._seen:
                self._seen.clear()
            start, count = self._seen.get(key, (now, 0))
            dropped = 0
            if now - start >= PER_SECONDS:
                dropped, start, count = max(0, count - BURST), now, 0
            self._seen[key] = (start, count + 1)
        if dropped:
            record.__dict__["data"] = {**record.__dict__.get("data", {}), "dropped_before": dropped}
        return count < BURST


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """A record as plain values; an exception as its type, message and place, on one line."""
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        **record.__dict__.get("data", {}),
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        last = traceback.extract_tb(error.__traceback__)[-1:]
        line["error"] = f"{type(error).__name__}: {error}"
        line["at"] = f"{last[0].name}:{last[0].lineno}" if last else ""
    return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(fields(record), ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, message, then ``name=value`` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        line = fields(record)
        head = f"{line.pop('time')} {line.pop('level').upper():<7} {line.pop('message')}"
        logger = line.pop("logger")
        pairs = " ".join(f"{name}={value}" for name, value in line.items())
        text = " ".join(f"{head} {pairs} [{logger}]".split())
        # Names in it may be a stranger's choice, and a terminal may show it.
        return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def configure(form: LogFormat, *, level: int = logging.INFO) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(RateLimit())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
