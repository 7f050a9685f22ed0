"""Alerts as the composition root sees them: findings in, one thread that delivers, and how it all stands."""

from __future__ import annotations

import logging
import random as randomness
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.alerts.database import Database
from kedge.alerts.delivery import Delivery
from kedge.alerts.manager import AlertManager
from kedge.alerts.outbox import Outbox
from kedge.alerts.routing import Router
from kedge.alerts.sinks.select import build
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from kedge.alerts.model import Alert, Finding, Origin
    from kedge.alerts.settings import AlertsConfig

TICK_SECONDS: Final = 1.0
"""How often reminders are looked for."""
STOP_SECONDS: Final = 2.0
"""Beyond the longest timeout of a sink: what the thread may take to notice that it shall end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SinkStatus:
    """How one sink stands; counts since the start.

    Attributes:
        name: as in the settings.
        waiting: messages in the outbox.
        oldest: seconds that the oldest of them has waited; 0 without any.
        delivered, refused: messages it took, or will never take.
        retried: attempts that failed and are made again.
        dropped: messages given up because its outbox was full.
    """

    name: str
    waiting: int
    oldest: float
    delivered: int
    refused: int
    retried: int
    dropped: int


class Alerts:
    """Takes findings at once and durably, and delivers what they mean in its own time. Thread-safe.

    Args:
        config: validated.
        path: of the database; made if missing.
        environment: variables that hold secrets.
        clock: seconds since 1970.
        monotonic: seconds, for pauses between attempts.
        random: uniform in [0, 1), spreads those pauses.

    Raises:
        ConfigError: a secret or a file of authorities cannot be read.
        AlertStoreError: the database cannot be used.
    """

    def __init__(
        self,
        config: AlertsConfig,
        path: Path,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._next_tick = monotonic()
        self._sinks = build(config, environment)
        self._database = Database(path)
        self._outbox = Outbox(self._database)
        try:
            self._manager = AlertManager(
                self._database,
                self._outbox,
                Router(config),
                {name: sink.refresh or config.repeat for name, sink in self._sinks.items()},
                clear_after=config.clear_after,
                labels=config.labels,
                clock=clock,
            )
            self._outbox.keep_only(self._sinks)
        except BaseException:
            self._database.close()
            raise
        self._delivery = Delivery(self._outbox, self._sinks, clock=clock, monotonic=monotonic, random=random)
        self._patience = max((sink.timeout for sink in config.sinks if sink.type != "log"), default=0.0)
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-alerts", daemon=True)

    def observe(
        self, origin: Origin, source: str, findings: Iterable[Finding], judged: Collection[str] | None = None
    ) -> None:
        """See `AlertManager.observe`."""
        self._manager.observe(origin, source, findings, judged)
        self._wake.set()

    def fire(self, origin: Origin, finding: Finding) -> str:
        """See `AlertManager.fire`."""
        key = self._manager.fire(origin, finding)
        self._wake.set()
        return key

    def resolve(self, key: str) -> bool:
        """See `AlertManager.resolve`."""
        found = self._manager.resolve(key)
        self._wake.set()
        return found

    def retain(self, bundles: Collection[str]) -> None:
        """See `AlertManager.retain`."""
        self._manager.retain(bundles)
        self._wake.set()

    def active(self) -> tuple[Alert, ...]:
        """Alerts under way, worst first."""
        return self._manager.active()

    def status(self) -> tuple[SinkStatus, ...]:
        """How every sink stands, by name. Raises `AlertStoreError`."""
        waiting, counts, dropped = self._outbox.waiting(), self._delivery.counts(), self._outbox.dropped()
        now = self._clock()
        return tuple(
            SinkStatus(
                name=name,
                waiting=waiting.get(name, (0, now))[0],
                oldest=max(0.0, now - waiting.get(name, (0, now))[1]),
                delivered=counts.get((name, "delivered"), 0),
                refused=counts.get((name, "refused"), 0),
                retried=counts.get((name, "retried"), 0),
                dropped=dropped.get(name, 0),
            )
            for name in sorted(self._sinks)
        )

    def start(self) -> None:
        """Begin to deliver; once."""
        self._thread.start()

    def stop(self) -> bool:
        """End after the attempt under way; what waits is delivered after the next start.

        Returns:
            False if the thread did not end within the longest timeout of a sink and `STOP_SECONDS` (a resolver of names
            knows no timeout). It is left to end with the process; nothing is lost by that.
        """
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._patience + STOP_SECONDS)
            if self._thread.is_alive():
                log.warning("a delivery is still under way; it is left behind")
                return False
        self._database.close()
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            try:
                if self._monotonic() >= self._next_tick:
                    self._next_tick = self._monotonic() + TICK_SECONDS
                    self._manager.tick()
                pause = self._delivery.attempt()
            except KedgeError as error:
                log.error("alerts are not delivered for now", extra={"data": {"reason": str(error)}})  # noqa: TRY400
                pause = None
            except Exception:
                log.exception("alerts are not delivered for now")
                pause = None
            if pause != 0.0:
                self._wake.wait(TICK_SECONDS if pause is None else min(pause, TICK_SECONDS))
