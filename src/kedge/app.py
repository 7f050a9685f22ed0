"""The composition root: makes every part of a server, gives it what it needs, and ends them in reverse order."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from kedge import privileges
from kedge.admin.access import Access, local_actor
from kedge.admin.service import AdminServer, Parts
from kedge.alerts.service import Alerts
from kedge.alerts.settings import parse as parse_alerts
from kedge.app_alerts import RolloutAlerts, VerdictAlerts, tell_of_log
from kedge.app_certificates import LOOK_SECONDS as CERTIFICATE_SECONDS
from kedge.app_certificates import Certificates
from kedge.app_limits import connection_limits
from kedge.app_outcomes import Outcomes
from kedge.audit.counts import COUNTS, CountStore
from kedge.audit.doors import Doors, note_policy
from kedge.audit.errors import AuditError, PolicyError
from kedge.audit.policy import load as load_policy
from kedge.audit.record import SYSTEM
from kedge.audit.settings import parse as parse_audit
from kedge.bundle.store import Store
from kedge.errors import KedgeError
from kedge.kernel.select import select as select_kernel
from kedge.metrics.server import MetricsServer
from kedge.monitor.chart_store import ChartStore
from kedge.monitor.panes import Panes
from kedge.monitor.sampler import LOOK_SECONDS, Sampler
from kedge.plane.cold.service import ColdService
from kedge.plane.select import select as select_plane
from kedge.rollout.admission import admit
from kedge.rollout.desk import UnrecordedError
from kedge.rollout.digest import Digests
from kedge.rollout.ledger import open_ledger
from kedge.rollout.manager import Rollouts
from kedge.rollout.state import DATABASE, STORE, locked
from kedge.rollout.states import IllegalCommandError
from kedge.rollout.view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.audit.policy import Policy
    from kedge.bundle.contents import Bundle
    from kedge.config import Settings
    from kedge.rollout.ledger import Ledger
    from kedge.rollout.reading import OutcomeStep

ALERTS: Final = "alerts.db"
"""In the state directory: alerts under way and messages not yet delivered."""

WATCH_SECONDS: Final = 0.1
"""Between two looks for hard faults."""

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
        self._cold: ColdService | None = None
        self.notes: list[str] = []
        self._forgotten: list[Callable[[str], None]] = []
        alerting = parse_alerts(settings.alerts, f"{settings.config}: alerts")
        with ExitStack() as parts:
            directory = parts.enter_context(locked(settings.state))
            self._kernel = select_kernel(settings.kernel)
            self._plane = select_plane(settings.plane, self._kernel, settings.shards)
            parts.callback(self._plane.stop)
            data_tls, admin_tls = Certificates(settings), Certificates(settings, "admin_")
            limits, note = connection_limits(settings.max_connections, privileges.open_files())
            if note is not None and self._plane.name == "native":  # the other one does not count them
                self.notes.append(note)
            self._plane.configure(tls=data_tls.tls, limits=limits)
            store = Store(directory / STORE)
            policy = None if settings.policy is None else load_policy(settings.policy)
            ledger = open_ledger(directory, parse_audit(settings.audit, f"{settings.config}: audit"))
            self._doors = Doors(policy, store.root, log=ledger.log)
            self._note_policy(ledger, policy)
            if ledger.fault:
                self.notes.append(f"nothing can be changed while the audit log cannot be written: {ledger.fault}")
            notices = RolloutAlerts()
            self._rollouts = Rollouts(
                ledger=ledger,
                store=store,
                plane=self._plane,
                clock=clock,
                tell=notices.tell,
                changed=self._changed,
                forgotten=self._forget,
                doors=self._doors,
                outcomes=self._labelled,
                retain=settings.retain,
            )
            parts.callback(self._rollouts.close)
            panes = Panes(clock)
            charts = self._charts(directory)
            if charts is not None:
                parts.callback(charts.close)
            self._view = View(
                plane=self._plane,
                kernel=self._kernel,
                store=store,
                rollouts=self._rollouts,
                panes=panes,
                clock=clock,
                ready=self._ready,
                charts=charts,
            )
            alerts = Alerts(alerting, directory / ALERTS, os.environ, clock=clock)
            parts.callback(alerts.stop)
            self._outcomes = Outcomes(directory, self._plane, self._view, alerts, clock)
            parts.callback(self._outcomes.stop)
            self._metrics = MetricsServer(settings.metrics, self._view, self._outcomes)
            parts.callback(self._metrics.stop)
            access = Access(
                tokens=settings.admin_tokens,
                certificates=settings.admin_auth.certificates,
                local=local_actor(unix=settings.admin.path is not None),
            )
            # Before what was live is loaded: the archive may bring the signatures that it lacks.
            given = [(archive, admit(store, self._doors, archive)) for archive in settings.bundle]
            self.notes += self._rollouts.restore()
            for archive, bundle in given:
                self._deploy(archive, bundle)
            # Not before everything is restored: it takes commands.
            self._admin = AdminServer(
                settings.admin,
                Parts(
                    view=self._view,
                    rollouts=self._rollouts,
                    store=store,
                    plane=self._plane,
                    kernel=self._kernel,
                    state=directory,
                    admit=lambda archive: admit(
                        store, self._doors, archive, coming=self._rollouts.expect, lost=self._rollouts.withdraw
                    ),
                    received=self._rollouts.received,
                    append=ledger.append,
                    outcomes=self._outcomes.history,
                    labelled=self._outcomes.verdicts,
                ),
                access,
                admin_tls.tls,
                settings.admin_mtls,
            )
            parts.callback(self._admin.stop)
            self._cold = ColdService(self._plane, self._view, self._outcomes.calls)
            self._plane.on_cold(self._cold)
            self._outcomes.calls.start()
            self._grpc = self._plane.start(str(settings.grpc))
            alerts.start()
            notices.start(self._view, alerts)
            tell_of_log(self._view, alerts, ledger.fault)
            parts.callback(notices.stop)
            verdicts = VerdictAlerts(self._view, alerts)
            looks: list[Callable[[], object]] = [verdicts.look]
            if ledger.log is not None:
                counts = CountStore(directory / COUNTS)
                digests = Digests(ledger.log, counts, self._view.evaluator, self._view.frame, clock)
                looks.append(digests.look)
                parts.callback(digests.close, self._view.evaluate)
                self._forgotten.append(digests.forget)
            for look, seconds in (
                (lambda: [one() for one in looks], LOOK_SECONDS),
                (self._rollouts.tick, LOOK_SECONDS),
                (self._rollouts.watch, WATCH_SECONDS),
                (lambda: data_tls.renew(lambda tls: self._plane.configure(tls=tls)), CERTIFICATE_SECONDS),
                (lambda: admin_tls.renew(self._admin.renew), CERTIFICATE_SECONDS),
            ):
                sampler = Sampler(look, seconds)
                sampler.start()
                parts.callback(sampler.stop)
            if not self._rollouts.live():
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
            **({"admin_mtls": self._admin.mutual} if self._admin.mutual else {}),
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
                for live in self._rollouts.live()
            ],
            "notes": self.notes,
        }

    def drain(self) -> bool:
        """Say "not ready", serve on for the grace, then let requests under way end.

        Returns:
            True if all of them ended within the drain timeout.
        """
        self._taking = False
        self._changed()
        return self._plane.drain(self._settings.drain_timeout, self._settings.drain_grace)

    def stop(self) -> None:
        """End everything, requests under way included."""
        self._taking = False
        self._parts.close()

    def _ready(self) -> bool:
        return self._taking and bool(self._rollouts.live())

    def _charts(self, directory: Path) -> ChartStore | None:
        """Where charts are kept, unless the disk is full or the file damaged: to serve is more than to chart."""
        try:
            return ChartStore(directory / DATABASE)
        except KedgeError as error:
            self.notes.append(f"control charts will not survive a restart: {error}")
            return None

    def _changed(self) -> None:
        if self._cold is not None:
            self._cold.refresh()

    def _note_policy(self, ledger: Ledger, policy: Policy | None) -> None:
        """Put a change of the policy on record; it is in force whether that can be done or not."""
        if ledger.log is None:
            return
        try:
            note_policy(ledger.log, policy)
        except (AuditError, PolicyError) as error:
            self.notes.append(f"the signing policy in force is not on record: {error}")

    def _labelled(self, candidate: str, control: str, salt: bytes) -> tuple[OutcomeStep, ...]:
        return self._outcomes.steps(candidate, control, salt)

    def _forget(self, identity: str) -> None:
        for forget in (*self._forgotten, self._view.forget, self._outcomes.forget, self._plane.forget):
            forget(identity)

    def _deploy(self, archive: Path, bundle: Bundle) -> None:
        live = next((item for item in self._rollouts.live() if item.bundle.name == bundle.name), None)
        if live is None:
            try:
                self._rollouts.deploy(bundle.id, by=SYSTEM, reason="--bundle at the start")
            except (IllegalCommandError, UnrecordedError, AuditError) as error:  # no reason for the others not to serve
                self.notes.append(f"{archive.name} is not deployed: {error}")
        elif live.bundle.id != bundle.id:
            self.notes.append(
                f"{archive.name} is not deployed: model '{bundle.name}' has {live.bundle.version} live already"
            )
