"""Rollouts: which bundle answers for each model, how a candidate becomes it, and how it goes back."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from kedge.audit.doors import Doors
from kedge.audit.errors import AuditError, SignatureError
from kedge.rollout import commands, deploying, reconcile, rollback, storing
from kedge.rollout.answers import Order
from kedge.rollout.desk import Desk, UnrecordedError
from kedge.rollout.evaluating import Evaluation
from kedge.rollout.faults import Faults
from kedge.rollout.live import Live, NotLiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kedge.audit.record import Actor, Draft
    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.plane.contract import DataPlane, RouteTable
    from kedge.rollout.durations import Timings
    from kedge.rollout.ledger import Ledger
    from kedge.rollout.notice import Notice
    from kedge.rollout.plan import Plan, Strategy
    from kedge.rollout.reading import OutcomeStep
    from kedge.rollout.values import BundleState, Event, ModelState

RETAIN: Final = 3
"""Bundles of a model that were live before the last good one and stay in the store."""

PATIENCE: Final = 1.0
"""Seconds the watch waits for whoever decides; beyond it something hangs."""

log = logging.getLogger(__name__)


class Rollouts:
    """Everything that may change what answers. Thread-safe; commands of two operators come one after the other.

    Args:
        ledger: state and audit log.
        store: where bundles stand.
        plane: who serves them.
        clock: seconds since 1970.
        monotonic: seconds, for the dead-man switch.
        tell: hears what somebody should be paged for; it must not block.
        changed: called when routes have changed; it must not block.
        forgotten: told the id of a bundle that was deleted.
        doors: what the signing policy says before a bundle is loaded or deployed; None asks for nothing.
        outcomes: labelled units of a rollout, by candidate, control and salt; it must not block.
        retain: see `RETAIN`.

    Raises:
        StateError: the database is damaged.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        plane: DataPlane,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        tell: Callable[[Notice], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
        forgotten: Callable[[str], None] = lambda _: None,
        doors: Doors | None = None,
        outcomes: Callable[[str, str, bytes], Sequence[OutcomeStep]] = lambda *_: (),
        retain: int = RETAIN,
    ) -> None:
        doors = doors or Doors(None, store.root)
        self._desk = Desk(ledger=ledger, plane=plane, store=store, doors=doors, clock=clock, tell=tell, changed=changed)
        self._evaluation = Evaluation(self._desk, monotonic, outcomes)
        self._faults = Faults(self._desk)
        self._forgotten = forgotten
        self._retain = retain
        self._restored = False
        storing.sweep(self._desk)  # before anything is added: what is left over is not what a start brings

    def restore(self) -> tuple[str, ...]:
        """Serve what was live when the server last ran, and put right what was under way.

        Returns:
            Why models are not served whose live bundle the signing policy refuses, while there are others.

        Raises:
            StateError: a live bundle is gone from the store, or the audit log does not take what was put right.
            ModelLoadError: a live bundle does not load any more. Nothing is served then.
            SignatureError: the signing policy refuses every live bundle.
        """
        with self._desk.lock:
            refused = reconcile.restore(self._desk, os.getpid())
            self._restored = True
            return refused

    def close(self) -> None:
        """Note how far rollouts are and that the end was clean, and close the database. What is published stays so."""
        with self._desk.lock:
            try:
                if self._restored:
                    self._evaluation.keep()
                    self._desk.retry()
                    self._desk.refuse_unrecorded()
                    self._desk.ledger.ended()
            except (AuditError, UnrecordedError) as error:
                log.warning("the end is not recorded, the next start will take it for a crash: %s", error)
            self._desk.ledger.close()

    def deploy(
        self,
        bundle_id: str,
        *,
        strategy: Strategy | None = None,
        plan: Plan | Mapping[str, object] | None = None,
        by: Actor,
        reason: str = "",
        key: str = "",
    ) -> ModelState:
        """Begin the rollout of a bundle of the store; returns once its first stage is in force.

        Args:
            bundle_id: its id, a prefix of at least 8 digits, or ``NAME-VERSION``.
            strategy: None: as its plan says; without any, ``swap`` where nothing is live, else ``canary``.
            plan: to follow; None: what the bundle brings if it fits the strategy, else the default one.
            by: who asks.
            reason: why, for the record.
            key: idempotency key: the same key with the same command returns the first answer and does nothing.

        Raises:
            BundleError: there is no such bundle, or it is damaged.
            PlanError: the plan is none.
            IllegalCommandError: its state, or a rollout under way, does not allow it.
            ModelLoadError: it does not load, or its golden rows do not come out.
            SignatureError: the signing policy refuses it, or it is a downgrade.
            UnrecordedError: a rollback is not in the audit log yet.
            AuditError: the record was not taken.
            KeyReusedError: the key was used for another command.
        """
        return deploying.deploy(self._desk, bundle_id, strategy, plan, Order(by, reason, key))

    def promote(
        self, model: str, *, by: Actor, reason: str = "", key: str = "", expected: int | None = None
    ) -> ModelState:
        """Go on to the next stage now, and say yes where one is waited for.

        Args:
            model: its name.
            by: who asks.
            reason: why, for the record.
            key: idempotency key.
            expected: revision of the model (`ModelState.revision`) that was looked at when this was decided; None: any.

        Raises:
            ChangedError: it has another revision by now: somebody else was first.
            NotLiveError: no such model; and as `deploy`.
        """
        with self._desk.lock:
            return commands.promote(self._desk, model, Order(by, reason, key, expected))

    def pause(
        self, model: str, *, by: Actor, reason: str = "", key: str = "", expected: int | None = None
    ) -> ModelState:
        """Stop going on; traffic stays as it is and guards still act. Raises as `promote`."""
        with self._desk.lock:
            return commands.pause(self._desk, model, Order(by, reason, key, expected))

    def resume(
        self, model: str, *, by: Actor, reason: str = "", key: str = "", expected: int | None = None
    ) -> ModelState:
        """Go on with what was paused; what held it is accepted. Raises as `promote`."""
        with self._desk.lock:
            return commands.resume(self._desk, model, Order(by, reason, key, expected))

    def abort(
        self, model: str, *, by: Actor, reason: str = "", key: str = "", expected: int | None = None
    ) -> ModelState:
        """Take the candidate from traffic and set it aside; it may be deployed again. Raises as `promote`."""
        with self._desk.lock:
            return commands.abort(self._desk, model, Order(by, reason, key, expected))

    def rollback(
        self,
        model: str,
        *,
        to: str | None = None,
        by: Actor,
        reason: str = "",
        key: str = "",
        expected: int | None = None,
    ) -> ModelState:
        """Take the candidate, or without one the live bundle, from traffic and quarantine it.

        Args:
            model: its name.
            to: bundle to go back to, as `deploy` takes it; None: the live one where a candidate is under way, else the
                last good one, and where none is warm, as after a rollback, the one that was live before, loaded first.
            by: who asks.
            reason: why, for the record.
            key: idempotency key.
            expected: as `promote`.

        Raises:
            NotLiveError: no such model.
            IllegalCommandError: there is nothing to roll back, or nothing to go back to.
            ModelLoadError: `to` is not loaded, and does not load.
        """
        return rollback.command(self._desk, model, to, Order(by, reason, key, expected))

    def clear_quarantine(self, bundle_id: str, *, by: Actor, reason: str = "", key: str = "") -> BundleState:
        """Let a bundle be deployed again. Raises `IllegalCommandError` where it is not quarantined."""
        with self._desk.lock:
            return commands.clear_quarantine(self._desk, bundle_id, Order(by, reason, key))

    def delete(self, bundle_id: str, *, by: Actor, reason: str = "", key: str = "") -> None:
        """Remove a bundle from the store.

        Args:
            bundle_id: full id.
            by: who asks.
            reason: why, for the record.
            key: idempotency key.

        Raises:
            BundleNotFoundError: the store has none.
            IllegalCommandError: it is loaded.
        """
        with self._desk.lock:
            storing.delete(self._desk, bundle_id, Order(by, reason, key))
        self._desk.residents.retire()  # counts of what is still loaded could not be dropped yet
        self._forgotten(bundle_id)

    def expect(self, bundle: Bundle) -> None:
        """A bundle is about to come into the store. Without `received` it is removed at the next start.

        Raises:
            AuditError: nothing can be recorded, so nothing may come in.
        """
        with self._desk.lock:
            storing.expect(self._desk, bundle)

    def received(self, draft: Draft) -> None:
        """Record that a bundle came in. Raises `AuditError`."""
        with self._desk.lock:
            storing.received(self._desk, draft)

    def withdraw(self, bundle_id: str) -> None:
        """A bundle came in, and its record was not taken: it goes, unless it was there before or is on record since."""
        with self._desk.lock:
            storing.withdraw(self._desk, bundle_id)

    def distrust(self, bundle_id: str, words: str, details: Mapping[str, str]) -> bool:
        """Labels say that a bundle is worse than it was when it was built.

        It goes back to the last good bundle if it is live, that one is warm, no rollout is under way (which has a guard
        of its own), and the plan it came by, if that is still known, lets outcomes roll back.

        Args:
            bundle_id: full id.
            words: what was found.
            details: the numbers of it, for the record.

        Returns:
            Whether it was rolled back.
        """
        with self._desk.lock:
            return rollback.distrusted(self._desk, bundle_id, words, details)

    def permits(self, bundle: Bundle) -> bool:
        """Whether the signing policy lets a bundle of the store be loaded and gone back to; a refusal is recorded."""
        try:
            self._desk.doors.check(bundle)
        except SignatureError:
            return False
        return True

    def status(self, model: str = "") -> tuple[ModelState, ...]:
        """Where every model stands, by name; with `model` that one alone. Raises `NotLiveError`."""
        with self._desk.lock:
            names = (model,) if model else sorted(self._desk.books.models)
            return tuple(commands.current(self._desk, name) for name in names)

    def bundles(self) -> Mapping[str, BundleState]:
        """Where every bundle stands that was ever deployed, by id."""
        with self._desk.lock:
            return dict(self._desk.books.bundles)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """What happened since the event of that number, oldest first; bounded."""
        return self._desk.events.after(after)

    def wait(self, after: int, timeout: float) -> tuple[Event, ...]:
        """As `events`, once there are any; empty after `timeout` seconds."""
        return self._desk.events.wait(after, timeout)

    def tick(self) -> None:
        """Look at the evidence of every rollout once and do what it asks. For one thread, each second."""
        taken = self._evaluation.snapshot()
        removed: tuple[str, ...] = ()
        with self._desk.lock:
            self._desk.retry()
            self._evaluation.tick(taken)
            self._desk.trim()
            with contextlib.suppress(AuditError):  # said where it matters; the next tick tries again
                removed = storing.prune(self._desk, self._retain)
        self._desk.residents.retire()
        for identity in removed:
            self._forgotten(identity)

    def watch(self) -> None:
        """Look for hard faults, and whether `tick` still runs. For one thread, each tenth of a second."""
        if not self._desk.lock.acquire(timeout=PATIENCE):
            self._evaluation.stuck()
            return
        try:
            self._faults.look()
            self._evaluation.check_alive()
        finally:
            self._desk.lock.release()

    def table(self) -> RouteTable:
        """The route table in force. Never waits."""
        return self._desk.table

    def timings(self) -> Timings:
        """How long publishing and loading took so far. Never waits."""
        return self._desk.timings

    def live(self) -> tuple[Live, ...]:
        """Every live bundle, by model name. Never waits."""
        return tuple(live for _, live in sorted(self._desk.live.items()))

    def get(self, model: str) -> Live:
        """The live bundle of a model. Never waits. Raises `NotLiveError`."""
        known = self._desk.live
        if model in known:
            return known[model]
        raise NotLiveError(f"no model '{model}' is live here; live: {', '.join(sorted(known)) or 'none'}")
