"""Alerts as structured lines of the server's log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from kedge.alerts.model import Kind, Severity
from kedge.alerts.sinks.base import Delivered

if TYPE_CHECKING:
    from kedge.alerts.model import Notification
    from kedge.alerts.sinks.base import Outcome

LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}

log = logging.getLogger("kedge.alerts")


class LogSink:
    """Writes one line a message, at the level of its severity; the end of an alert is information."""

    refresh: float | None = None

    def deliver(self, message: Notification, now: float) -> Outcome:  # noqa: ARG002 - every sink is told the time
        """Write it; never fails."""
        alert = message.alert
        level = logging.INFO if message.kind is Kind.RESOLVED else LEVELS[alert.severity]
        data = {
            "alert": alert.key,
            "model": alert.model,
            "version": alert.version,
            "cause": alert.cause.value,
            "subject": alert.subject,
            "severity": alert.severity.value,
            "owner_kind": alert.owner_kind,
            "owner": alert.owner,
            "description": alert.description,
            **alert.labels,
        }
        # The summary stands in the text, because the log limits how often one text repeats: twenty features that drift
        # in one second are twenty alerts, not one that repeats.
        text = f"alert {message.kind.value}: {alert.summary}"
        log.log(level, text, extra={"data": data})
        return Delivered()
