"""Alerts for Prometheus Alertmanager, API v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedge.alerts.model import Kind, Severity, rfc3339
from kedge.alerts.sinks.base import Retry
from kedge.alerts.sinks.http import link, post, trust
from kedge.alerts.sinks.webhook import authorization
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.alerts.model import Alert, Notification
    from kedge.alerts.settings import AlertmanagerSink
    from kedge.alerts.sinks.base import Outcome

MISSED: Final = 3
"""Refreshes missed after which Alertmanager takes an alert as over; it is told so each time, as `endsAt`, because its
own resolve timeout is a setting that Kedge cannot see."""
SHOWN_BUNDLE: Final = 12


class Alertmanager:
    """POSTs to ``/api/v2/alerts``, again and again while an alert goes on.

    An Alertmanager keeps alerts in memory alone: the refresh is also what brings them back after it restarted.

    Args:
        config: validated.
        instance: label of that name.
        external_url: where people reach this server, or None.
        environment: holds secrets.

    Raises:
        ConfigError: a secret or the file of authorities cannot be read.
    """

    def __init__(
        self, config: AlertmanagerSink, instance: str, external_url: str | None, environment: Mapping[str, str]
    ) -> None:
        self.refresh: float | None = config.refresh
        self._hold = MISSED * config.refresh
        self._config = config
        self._instance = instance
        self._external_url = external_url
        self._environment = environment
        self._context = trust(config.ca_file)
        self._url = config.url.rstrip("/") + "/api/v2/alerts"
        authorization(config.token, environment)

    def deliver(self, message: Notification, now: float) -> Outcome:
        """POST it once."""
        try:
            headers = authorization(self._config.token, self._environment)
        except ConfigError as error:
            return Retry(str(error))
        headers |= {"Content-Type": "application/json"}
        body = self._alerts(message, now)
        return post(self._url, body, headers, timeout=self._config.timeout, context=self._context)

    def _alerts(self, message: Notification, now: float) -> list[dict[str, Any]]:
        alert = message.alert
        ends = alert.ended if message.kind is Kind.RESOLVED and alert.ended is not None else now + self._hold
        alerts = [self._alert(alert, alert.severity, max(ends, alert.started))]
        if message.kind is Kind.ESCALATED:
            # Labels identify an alert there, and severity is one: the milder ones are over. Unknown ones do no harm.
            milder = [severity for severity in Severity if severity.rank < alert.severity.rank]
            alerts += [self._alert(alert, severity, max(now, alert.started)) for severity in milder]
        return alerts

    def _alert(self, alert: Alert, severity: Severity, ends: float) -> dict[str, Any]:
        labels = {
            **alert.labels,
            "alertname": "Kedge" + "".join(word.capitalize() for word in alert.cause.value.split("-")),
            "instance": self._instance,
            "severity": severity.value,
            "model": alert.model,
            "version": alert.version,
            "bundle": alert.bundle[:SHOWN_BUNDLE],
            "cause": alert.cause.value,
            "subject": alert.subject,
            "owner_kind": alert.owner_kind,
            "owner": alert.owner,
        }
        result: dict[str, Any] = {
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": {"summary": alert.summary, "description": alert.description or alert.summary},
            "startsAt": rfc3339(alert.started),
            "endsAt": rfc3339(ends),
        }
        if self._external_url is not None:
            result["generatorURL"] = link(self._external_url, alert.key)
        return result
