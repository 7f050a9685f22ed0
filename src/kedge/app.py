"""The composition root: makes every part of a server, gives it what it needs, and ends them in reverse order."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from kedge.admin.service import AdminServer
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse as parse_alerts
from kedge.app_alerts import VerdictAlerts
from kedge.bundle.store import Store
from kedge.errors import ConfigError
from kedge.kernel.select import select as select_kernel
from kedge.metrics.server import MetricsServer
from kedge.monitor.chart_store import ChartStore
from kedge.monitor.panes import Panes
from kedge.monitor.sampler import Sampler
from kedge.plane.cold.service import ColdService
from kedge.plane.contract import Tls
from kedge.plane.select import select as select_plane
from kedge.rollout.live import Deployments
from kedge.rollout.state import DATABASE, STORE, locked
from kedge.rollout.view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.config import Settings

ALERTS: Final = "alerts.db"
"""In the state directory: alerts under way and messages not yet delivered."""

log = logging.getLogger(__name__)


class Server:
    """A server that takes requests once it is constructed.

    Args:
        settings: validated.
        clock: seconds since 1970.

    Raises:
        KedgeError: it could not be started; nothing of it is left running.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._taking = False
        self.notes: list[str] = []
        alerting = parse_alerts(settings.alerts, f"{settings.config}: alerts")
        with ExitStack() as parts:
            directory = parts.enter_context(locked(settings.state))
            self._kernel = select_kernel(settings.kernel)
            self._plane = select_plane(settings.plane, self._kernel, settings.shards)
            parts.callback(self._plane.stop)
            self._plane.configure(tls=_tls(settings))
            store = Store(directory / STORE)
            self._deployments = Deployments(directory, store, self._plane, clock)
            parts.callback(self._deployments.close)
            panes = Panes(clock)
            charts = ChartStore(directory / DATABASE)
            parts.callback(charts.close)
            self._view = View(
                plane=self._plane,
                kernel=self._kernel,
                store=store,
                deployments=self._deployments,
                panes=panes,
                clock=clock,
                ready=self._ready,
                charts=charts,
            )
            alerts = Alerts(alerting, directory / ALERTS, os.environ, clock=clock)
            parts.callback(alerts.stop)
            self._metrics = MetricsServer(settings.metrics, self._view)
            parts.callback(self._metrics.stop)
            self._admin = AdminServer(settings.admin, self._view)
            parts.callback(self._admin.stop)
            self._deployments.restore()
            for archive in settings.bundle:
                self._deploy(store, archive)
            self._cold = ColdService(self._plane, self._view)
            self._plane.on_cold(self._cold)
            self._grpc = self._plane.start(str(settings.grpc))
            alerts.start()
            sampler = Sampler(VerdictAlerts(self._view, alerts).look)
            sampler.start()
            parts.callback(sampler.stop)
            if not self._deployments.live():
                self.notes.append("no bundle is live; start with --bundle FILE to deploy one")
            self._taking = True
            self._parts = parts.pop_all()
        facts = self.describe()
        models = ", ".join(f"{item['model']} {item['version']}" for item in facts["models"])
        log.info("ready", extra={"data": {**facts, "models": models, "notes": len(self.notes)}})

    def describe(self) -> dict[str, Any]:
        """Addresses as bound, implementations in use, live bundles, and notes for the operator."""
        return {
            "grpc": self._grpc,
            "metrics": self._metrics.address,
            "admin": self._admin.address,
            "plane": self._plane.name,
            "kernel": self._kernel.name,
            "isa": self._kernel.isa,
            "models": [
                {
                    "model": live.bundle.name,
                    "version": live.bundle.version,
                    "bundle": live.bundle.id,
                    "epoch": live.epoch,
                }
                for live in self._deployments.live()
            ],
            "notes": self.notes,
        }

    def drain(self) -> bool:
        """Say "not ready", serve on for the grace, then let requests under way end.

        Returns:
            True if all of them ended within the drain timeout.
        """
        self._taking = False
        self._cold.refresh()
        return self._plane.drain(self._settings.drain_timeout, self._settings.drain_grace)

    def stop(self) -> None:
        """End everything, requests under way included."""
        self._taking = False
        self._parts.close()

    def _ready(self) -> bool:
        return self._taking and bool(self._deployments.live())

    def _deploy(self, store: Store, archive: Path) -> None:
        bundle = store.add(archive)
        live = next((item for item in self._deployments.live() if item.bundle.name == bundle.name), None)
        if live is None:
            self._deployments.deploy(bundle)
        elif live.bundle.id != bundle.id:
            self.notes.append(
                f"{archive.name} is not deployed: model '{bundle.name}' has {live.bundle.version} live already"
            )


def _tls(settings: Settings) -> Tls | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    client_ca = settings.tls_client_ca
    return Tls(
        _read("--tls-cert", settings.tls_cert),
        _read("--tls-key", settings.tls_key),
        _read("--tls-client-ca", client_ca) if client_ca else None,
    )


def _read(flag: str, path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{flag}: cannot read '{path}': {error.strerror}") from error
    if b"-----BEGIN" not in data:
        raise ConfigError(f"{flag}: '{path}' is not a PEM file")
    return data
