"""From settings to sinks: the only place that knows all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.alerts import settings
from kedge.alerts.sinks.alertmanager import Alertmanager
from kedge.alerts.sinks.log import LogSink
from kedge.alerts.sinks.pagerduty import PagerDuty
from kedge.alerts.sinks.webhook import Webhook
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.alerts.settings import AlertsConfig, SinkConfig
    from kedge.alerts.sinks.base import Sink


def build(config: AlertsConfig, environment: Mapping[str, str]) -> dict[str, Sink]:
    """Every sink by name, ``log`` among them.

    Raises:
        ConfigError: naming the sink whose secret, URL or file of authorities cannot be read.
    """
    sinks: dict[str, Sink] = {settings.LOG: LogSink()}
    for sink in config.sinks:
        try:
            sinks[sink.name] = _one(sink, config, environment)
        except ConfigError as error:
            raise ConfigError(f"alerts: sink '{sink.name}': {error}") from error
    return sinks


def _one(sink: SinkConfig, config: AlertsConfig, environment: Mapping[str, str]) -> Sink:
    match sink:
        case settings.WebhookSink():
            return Webhook(sink, config.instance, environment)
        case settings.AlertmanagerSink():
            return Alertmanager(sink, config.instance, config.external_url, environment)
        case settings.PagerDutySink():
            return PagerDuty(sink, config.instance, config.external_url, environment)
        case settings.LogSink():
            return LogSink()
