"""What a sink is, and what can become of a message there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kedge.alerts.model import Notification


@dataclass(frozen=True)
class Delivered:
    """The sink took it."""


@dataclass(frozen=True)
class Retry:
    """The sink cannot take it now. `after`: seconds it asked to be left alone; `reason` holds no secret."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True)
class Refused:
    """The sink will never take this message. `reason` holds no secret."""

    reason: str


Outcome = Delivered | Retry | Refused


class Sink(Protocol):
    """Takes messages, one at a time.

    Attributes:
        refresh: seconds between two messages about an alert that goes on; None: as the settings say for all.
    """

    refresh: float | None

    def deliver(self, message: Notification, now: float) -> Outcome:
        """Try once, within the sink's timeout. `now` in seconds since 1970."""
        ...
