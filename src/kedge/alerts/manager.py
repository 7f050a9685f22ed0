"""From findings to alerts: one a problem, told again while it lasts, over only when it stayed away."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kedge.alerts.errors import AlertStoreError
from kedge.alerts.model import (
    DESCRIPTION_CHARS,
    SUMMARY_CHARS,
    Alert,
    Finding,
    Kind,
    Notification,
    Origin,
    fingerprint,
    printable,
)
from kedge.alerts.routing import owner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from kedge.alerts.database import Database
    from kedge.alerts.outbox import Outbox
    from kedge.alerts.routing import Router

ACTIVE_LIMIT: Final = 10_000
"""Alerts of evaluators under way at once. Against: a bundle of thousands of features that all break, again with every
version. Events, of which a bundle has two or three, are taken all the same: nobody looks for them again."""
EVENT: Final = "event"
"""Source of what is not looked for again and again, such as a rollback: over when somebody says so."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    """An alert under way. `told` says by sink when; `clear` counts evaluations in a row that did not find it."""

    alert: Alert
    source: str
    sequence: int = 0
    told: Mapping[str, float] = field(default_factory=dict)
    clear: int = 0


class _Change:
    """What one call changes: applied to the database as a whole, and to memory only after that."""

    def __init__(self) -> None:
        self.entries: dict[str, _Entry | None] = {}
        self.messages: list[Notification] = []
        self.begun = 0


class AlertManager:
    """Every alert under way, in memory and on disk. Thread-safe.

    Args:
        database: of alerts; those under way when it was last open are under way again.
        outbox: takes the messages, in the same transaction.
        router: knows who hears what.
        refresh: by name, every sink there is, and the seconds between two reminders to it.
        clear_after: evaluations in a row without a finding after which its alert is over.
        labels: carried by every alert.
        clock: seconds since 1970.

    Raises:
        AlertStoreError: the database cannot be read.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        router: Router,
        refresh: Mapping[str, float],
        *,
        clear_after: int,
        labels: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._router = router
        self._refresh = dict(refresh)
        self._clear_after = clear_after
        self._labels = dict(labels)
        self._clock = clock
        self._lock = threading.Lock()
        rows = database.query("SELECT key, source, alert, sequence, told FROM alert_active")
        try:
            self._active = {
                key: _Entry(Alert.model_validate_json(alert), source, sequence, json.loads(told))
                for key, source, alert, sequence, told in rows
            }
        except ValueError as error:
            raise AlertStoreError("the database of alerts is damaged: an alert under way cannot be read") from error

    def active(self) -> tuple[Alert, ...]:
        """Alerts under way, worst first, then oldest first."""
        with self._lock:
            alerts = [entry.alert for entry in self._active.values()]
        return tuple(sorted(alerts, key=lambda alert: (-alert.severity.rank, alert.started, alert.key)))

    def observe(
        self, origin: Origin, source: str, findings: Iterable[Finding], judged: Collection[str] | None = None
    ) -> None:
        """Take all findings of one evaluation. What was judged and is not among them counts as not found.

        Args:
            origin: whose traffic was evaluated.
            source: which evaluator, such as ``drift``; it ends only alerts that it began.
            findings: every problem seen now.
            judged: subjects there was data enough to judge; alerts about others stay as they are, because no data is
                no recovery, not after a restart either. None: everything this source looks for.

        Raises:
            AlertStoreError: nothing was changed; the next evaluation will say the same again.
        """
        with self._lock:
            now, change, found = self._clock(), _Change(), set[str]()
            for finding in findings:
                found.add(self._found(change, origin, source, finding, now))
            for key, entry in self._active.items():
                alert = entry.alert
                if entry.source != source or (alert.model, alert.bundle) != (origin.model, origin.bundle):
                    continue
                if key in found or (judged is not None and alert.subject not in judged):
                    continue
                if entry.clear + 1 >= self._clear_after:
                    self._end(change, entry, now)
                else:
                    change.entries[key] = replace(entry, clear=entry.clear + 1)
            self._commit(change, now)

    def fire(self, origin: Origin, finding: Finding) -> str:
        """Begin an alert that lasts until `resolve`. Returns its key. Raises `AlertStoreError`."""
        with self._lock:
            now, change = self._clock(), _Change()
            key = self._found(change, origin, EVENT, finding, now)
            self._commit(change, now)
            return key

    def resolve(self, key: str) -> bool:
        """End an alert now. Returns False if none of that key is under way. Raises `AlertStoreError`."""
        with self._lock:
            entry = self._active.get(key)
            if entry is None:
                return False
            now, change = self._clock(), _Change()
            self._end(change, entry, now)
            self._commit(change, now)
            return True

    def retain(self, bundles: Collection[str]) -> None:
        """End what evaluators found about other bundles than these ids: nobody evaluates those any more.

        Events stay until they are resolved. Raises `AlertStoreError`.
        """
        with self._lock:
            now, change = self._clock(), _Change()
            for entry in self._active.values():
                if entry.source != EVENT and entry.alert.bundle and entry.alert.bundle not in bundles:
                    self._end(change, entry, now)
            self._commit(change, now)

    def tick(self) -> None:
        """Queue the reminders that are due, and first messages for sinks that the settings added.

        Raises:
            AlertStoreError: nothing was queued.
        """
        with self._lock:
            now, change = self._clock(), _Change()
            for entry in self._active.values():
                # abs: a wall clock that was set back must not silence reminders until it has caught up
                due = [
                    sink
                    for sink, last in entry.told.items()
                    if sink in self._refresh and abs(now - last) >= self._refresh[sink]
                ]
                new = [sink for sink in self._sinks(entry.alert) if sink not in entry.told]
                if due or new:
                    self._tell(change, entry, {Kind.REPEATED: due, Kind.FIRING: new}, now)
            self._commit(change, now)

    def _found(self, change: _Change, origin: Origin, source: str, finding: Finding, now: float) -> str:
        key = fingerprint(origin.model, origin.bundle, finding.cause, finding.subject)
        entry = change.entries.get(key) or self._active.get(key)
        summary = printable(finding.summary or f"{finding.subject}: {finding.cause.value}", SUMMARY_CHARS)
        description = printable(finding.description, DESCRIPTION_CHARS, lines=True)
        if entry is None:
            if source != EVENT and len(self._active) + change.begun >= ACTIVE_LIMIT:
                log.error("too many alerts are under way; more are not taken", extra={"data": {"limit": ACTIVE_LIMIT}})
                return key
            change.begun += 1
            kind, text = owner(finding.cause, origin.owners)
            alert = Alert(
                key=key,
                model=origin.model,
                version=origin.version,
                bundle=origin.bundle,
                cause=finding.cause,
                subject=finding.subject,
                owner_kind=kind,
                owner=text,
                severity=finding.severity,
                summary=summary,
                description=description,
                labels=self._labels,
                started=now,
            )
            self._tell(change, _Entry(alert, source), {Kind.FIRING: self._sinks(alert)}, now)
            return key
        worse = finding.severity.rank > entry.alert.severity.rank
        # The text follows the severity: a milder finding does not water down what a worse one said.
        same = finding.severity is entry.alert.severity
        if worse or same:
            texts = {"severity": finding.severity, "summary": summary, "description": description}
            entry = replace(entry, alert=entry.alert.model_copy(update=texts))
        entry = replace(entry, clear=0)
        change.entries[key] = entry
        if worse:
            new = [sink for sink in self._sinks(entry.alert) if sink not in entry.told]
            self._tell(change, entry, {Kind.ESCALATED: list(entry.told), Kind.FIRING: new}, now)
        return key

    def _end(self, change: _Change, entry: _Entry, now: float) -> None:
        over = entry.alert.model_copy(update={"ended": max(now, entry.alert.started)})
        self._tell(change, replace(entry, alert=over), {Kind.RESOLVED: list(entry.told)}, now)
        change.entries[over.key] = None

    def _sinks(self, alert: Alert) -> list[str]:
        return [sink for sink in self._router.sinks(alert.owner_kind, alert.severity) if sink in self._refresh]

    def _tell(self, change: _Change, entry: _Entry, sinks: Mapping[Kind, Iterable[str]], now: float) -> None:
        told = dict(entry.told)
        for kind, names in sinks.items():
            for sink in names:
                if sink in self._refresh:
                    number = f"{entry.alert.key}-{round(entry.alert.started * 1000)}-{entry.sequence}-{kind.value}"
                    change.messages.append(Notification(id=number, kind=kind, sink=sink, alert=entry.alert))
                    told[sink] = now
        change.entries[entry.alert.key] = replace(entry, sequence=entry.sequence + 1, told=told)

    def _commit(self, change: _Change, now: float) -> None:
        """Write what must survive, then change memory. A mere count of clear evaluations is not worth a write."""
        if change.messages or any(entry is None for entry in change.entries.values()):
            told = {message.alert.key for message in change.messages}
            with self._database.transaction() as connection:
                for message in change.messages:
                    self._outbox.put(connection, message, now)
                for key, entry in change.entries.items():
                    if entry is None:
                        connection.execute("DELETE FROM alert_active WHERE key = ?", (key,))
                    elif key in told:
                        connection.execute(
                            "INSERT INTO alert_active (key, source, alert, sequence, told) VALUES (?, ?, ?, ?, ?) "
                            "ON CONFLICT (key) DO UPDATE SET alert = excluded.alert, sequence = excluded.sequence, "
                            "told = excluded.told",
                            (key, entry.source, entry.alert.model_dump_json(), entry.sequence, json.dumps(entry.told)),
                        )
        for key, entry in change.entries.items():
            if entry is None:
                del self._active[key]
            else:
                self._active[key] = entry
