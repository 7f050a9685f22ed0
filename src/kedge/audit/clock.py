"""Time and identity of a record, from a clock and randomness that are handed in."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], "Moment"]
    Randomness = Callable[[int], bytes]


@dataclass(frozen=True)
class Moment:
    """A reading of a clock.

    Attributes:
        nanoseconds: since 1970-01-01T00:00:00Z, leap seconds not counted.
        source: which clock said so.
    """

    nanoseconds: int
    source: str

    def text(self) -> str:
        """RFC 3339, UTC, microseconds."""
        seconds, rest = divmod(self.nanoseconds, 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def system_clock() -> Moment:
    """The machine's own clock, however well it is kept."""
    return Moment(time.time_ns(), "system")


def uuid7(moment: Moment, random: bytes) -> str:
    """UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then 74 of the 80 random bits given."""
    value = (moment.nanoseconds // 1_000_000) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
