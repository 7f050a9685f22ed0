"""Alerts as CloudEvents 1.0, HTTP binding, structured mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.alerts.model import Kind, rfc3339
from kedge.alerts.sinks.base import Retry
from kedge.alerts.sinks.http import post, trust
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.alerts.model import Notification
    from kedge.alerts.settings import Secret, WebhookSink
    from kedge.alerts.sinks.base import Outcome


def authorization(token: Secret | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The header, with the secret as it is now. Raises `ConfigError`."""
    return {} if token is None else {"Authorization": f"Bearer {token.read(environment)}"}


class Webhook:
    """POSTs ``kedge.v1.alert.<kind>`` events; their id stays the same in every attempt.

    Args:
        config: validated.
        instance: name of this server; the source is ``/kedge/<instance>``.
        environment: holds secrets.

    Raises:
        ConfigError: a secret or the file of authorities cannot be read.
    """

    refresh: float | None = None

    def __init__(self, config: WebhookSink, instance: str, environment: Mapping[str, str]) -> None:
        self._config = config
        self._instance = instance
        self._environment = environment
        self._context = trust(config.ca_file)
        config.read_url(environment)
        authorization(config.token, environment)

    def deliver(self, message: Notification, now: float) -> Outcome:
        """POST it once."""
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8", "Idempotency-Key": message.id}
        try:
            url = self._config.read_url(self._environment)
            headers |= authorization(self._config.token, self._environment)
        except ConfigError as error:
            return Retry(str(error))
        event = self._event(message, now)
        return post(url, event, headers, timeout=self._config.timeout, context=self._context)

    def _event(self, message: Notification, now: float) -> dict[str, Any]:
        alert = message.alert
        ended = alert.ended if message.kind is Kind.RESOLVED else None
        return {
            "specversion": "1.0",
            "id": message.id,
            "source": f"/kedge/{self._instance}",
            "type": f"kedge.v1.alert.{message.kind.value}",
            "subject": f"{alert.model}/{alert.cause.value}/{alert.key}",
            "time": rfc3339(now),
            "datacontenttype": "application/json",
            "data": {
                **alert.model_dump(mode="json"),
                "started": rfc3339(alert.started),
                "ended": None if ended is None else rfc3339(ended),
            },
        }
