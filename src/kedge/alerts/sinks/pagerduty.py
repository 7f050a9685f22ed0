"""Alerts for PagerDuty, Events API v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.alerts.model import Kind, rfc3339
from kedge.alerts.sinks.base import Retry
from kedge.alerts.sinks.http import link, post, trust
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.alerts.model import Notification
    from kedge.alerts.settings import PagerDutySink
    from kedge.alerts.sinks.base import Outcome


class PagerDuty:
    """POSTs to ``/v2/enqueue``; the alert's key is the `dedup_key`, so that its end closes what its beginning opened.

    Args:
        config: validated.
        instance: the source.
        external_url: where people reach this server, or None.
        environment: holds the routing key.

    Raises:
        ConfigError: the routing key or the file of authorities cannot be read.
    """

    refresh: float | None = None

    def __init__(
        self, config: PagerDutySink, instance: str, external_url: str | None, environment: Mapping[str, str]
    ) -> None:
        self._config = config
        self._instance = instance
        self._external_url = external_url
        self._environment = environment
        self._context = trust(config.ca_file)
        self._url = config.url.rstrip("/") + "/v2/enqueue"
        config.routing_key.read(environment)

    def deliver(self, message: Notification, now: float) -> Outcome:  # noqa: ARG002 - every sink is told the time
        """POST it once."""
        try:
            routing_key = self._config.routing_key.read(self._environment)
        except ConfigError as error:
            return Retry(str(error))
        body = {"routing_key": routing_key, "dedup_key": message.alert.key, **self._event(message)}
        headers = {"Content-Type": "application/json"}
        return post(self._url, body, headers, timeout=self._config.timeout, context=self._context)

    def _event(self, message: Notification) -> dict[str, Any]:
        alert = message.alert
        if message.kind is Kind.RESOLVED:
            return {"event_action": "resolve"}
        event: dict[str, Any] = {
            "event_action": "trigger",
            "client": "Kedge",
            "payload": {
                "summary": alert.summary,
                "timestamp": rfc3339(alert.started),
                "severity": alert.severity.value,
                "source": self._instance,
                "component": alert.model,
                "group": alert.owner_kind,
                "class": alert.cause.value,
                "custom_details": {
                    "description": alert.description,
                    "owner": alert.owner,
                    "version": alert.version,
                    "bundle": alert.bundle,
                    "subject": alert.subject,
                    **alert.labels,
                },
            },
        }
        if self._external_url is not None:
            event["client_url"] = link(self._external_url, alert.key)
        return event
