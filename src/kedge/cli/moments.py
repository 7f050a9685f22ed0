"""Times and durations as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from kedge.errors import ConfigError

UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def moment(flag: str, text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time (local where it names no zone) or of a plain number of seconds.

    Raises:
        ConfigError: it is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{flag}: '{text}' is no time; write 2013-07-01T06:30, with +00:00 for UTC") from error


def duration(flag: str, text: str) -> float:
    """Seconds of ``50ms``, ``90s``, ``10m``, ``2h`` or ``1d``. Raises `ConfigError`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(f"{flag}: '{text}' is no duration; write 50ms, 90s, 10m, 2h or 1d")
    return float(match[1]) * UNITS[match[2]]


def shown(seconds: float) -> str:
    """A moment for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(seconds: float) -> str:
    """A duration for people: the two largest units that are not zero."""
    parts = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
