"""Where a change becomes true: recorded and published together, or first in force where it cannot wait for a record."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.alerts.model import printable
from kedge.errors import Code, KedgeError
from kedge.plane.contract import RouteTable
from kedge.rollout import answers, book, routing, states, status
from kedge.rollout.change import DEPLOYED, WORDS, Written, draft
from kedge.rollout.durations import Timings
from kedge.rollout.events import Events
from kedge.rollout.live import Live, Residents
from kedge.rollout.standing import WORDS as KEPT_WORDS
from kedge.rollout.standing import Standing
from kedge.rollout.values import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedge.audit.doors import Doors
    from kedge.audit.log import Transaction
    from kedge.bundle.store import Store
    from kedge.plane.contract import DataPlane, PublishReport
    from kedge.rollout.answers import Request
    from kedge.rollout.book import Books, Model
    from kedge.rollout.change import Change
    from kedge.rollout.gathering import Gathering
    from kedge.rollout.ledger import Ledger
    from kedge.rollout.notice import Notice
    from kedge.rollout.states import Cause, State
    from kedge.rollout.values import BundleState, ModelState

log = logging.getLogger(__name__)


class UnrecordedError(KedgeError):
    """Something is in force that the audit log does not have yet: nothing else may change."""

    code = Code.UNAVAILABLE


class Desk:
    """What commands, the evaluator and the watch share, used under `lock`.

    `table` and `live` are replaced and never changed, so that whoever answers clients reads them without a wait.

    Args:
        ledger: where changes are recorded.
        plane: where they are published.
        store: of bundles.
        doors: what the signing policy says.
        clock: seconds since 1970.
        tell: hears of what somebody should be paged for.
        changed: called when routes have changed; it must not block.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        plane: DataPlane,
        store: Store,
        doors: Doors,
        clock: Callable[[], float],
        tell: Callable[[Notice], None],
        changed: Callable[[], None],
    ) -> None:
        self.lock = threading.RLock()
        self.ledger = ledger
        self.plane = plane
        self.store = store
        self.doors = doors
        self.clock = clock
        self.tell = tell
        self._changed = changed
        self.events = Events()
        self.timings = Timings()
        self.residents = Residents(plane, doors, self.timings.load)
        self.books, self._rollouts = ledger.read(self.events)
        self.table = RouteTable()
        self.live: Mapping[str, Live] = {}
        self.gatherings: dict[str, Gathering] = {}
        self.unrecorded: list[Written] = []
        # Uploads that are on their way into the store, by bundle id: two callers may send the same one.
        self.coming: Counter[str] = Counter()
        self._standing: dict[str, Standing] = {}
        self.why_unrecorded = ""

    def number(self) -> int:
        """Of a new rollout."""
        self._rollouts += 1
        return self._rollouts

    def moved(self, item: BundleState, cause: Cause, target: State, words: str) -> BundleState:
        """A bundle in its next state. Raises `IllegalTransitionError` where the table has no such way."""
        states.move(item.state, cause, target)
        return replace(item, state=target, since=self.clock(), reason=printable(words, WORDS))

    def apply(self, change: Change) -> ModelState:
        """Record and publish: both happen, or neither is seen again.

        Raises:
            UnrecordedError: a rollback is not recorded yet.
            AuditError: the record was not taken.
            PlaneError: the plane refused the routes.
        """
        self.refuse_unrecorded()
        before = self.books.models.get(change.model.name)
        change, after, routed = self._prepared(change)
        written = self._written(change, after)
        published = False
        try:
            with self.ledger.transaction() as work:
                self._write(work, written)
                if routed:
                    self.publish(routing.table(after, self.residents.handles))
                    published = True
        except BaseException:
            if published and before is not None:
                self._take_back(before, change.model.epoch + 1)
            raise
        self._settle(after, written)
        self._recorded(written)
        return written.answer

    def roll_back(self, change: Change) -> ModelState:
        """Publish, then record. Where the record is not taken, the rollback stands and `retry` tries again.

        Raises:
            PlaneError: the plane refused the routes; nothing was changed.
        """
        live = self.books.models[change.model.name].live
        change, after, routed = self._prepared(change)
        if routed:
            report = self.publish(routing.table(after, self.residents.handles))
            self._stand(change, live)
            first = change.steps[0]
            details = {**(first.details or {}), "publish_ns": report.nanoseconds}
            change = replace(change, steps=(replace(first, details=details), *change.steps[1:]))
        written = self._written(change, after)
        return self._insist(after, written)

    def found(self, change: Change) -> ModelState:
        """Something is so already, as after a restart: take it as true, and record it as soon as that can be done."""
        change, after, _ = self._prepared(change)
        return self._insist(after, self._written(change, after))

    def publish(self, table: RouteTable) -> PublishReport:
        """Put a table in force on the plane, and count how long it took. Raises `PlaneError`."""
        report = self.plane.publish(table)
        self.timings.publish.add(report.nanoseconds / 1e9)
        return report

    def retry(self) -> None:
        """Record what is in force and not recorded yet, in its order."""
        while self.unrecorded:
            written = self.unrecorded[0]
            try:
                with self.ledger.transaction() as work:
                    self._write(work, written)
            except Exception as error:  # noqa: BLE001 - whatever it is, the change stands and is tried again
                if str(error) != self.why_unrecorded:
                    log.error(  # noqa: TRY400 - the reason says it all
                        "a change is in force and not recorded; nothing else changes until it is",
                        extra={"data": {"model": written.change.model.name, "reason": str(error)}},
                    )
                self.why_unrecorded = str(error)
                return
            self.unrecorded.pop(0)
            self._recorded(written)
        self.why_unrecorded = ""

    def refuse_unrecorded(self) -> None:
        """Raises `UnrecordedError` while something in force is not recorded."""
        if self.unrecorded:
            step = self.unrecorded[0].change.steps[0]
            raise UnrecordedError(
                f"{step.bundle} is {self.books.bundles[step.bundle.id].state}, and that is not in the audit log yet "
                f"({self.why_unrecorded}); nothing else changes until it is: mend that, it is tried again every second"
            )

    def answered(self, request: Request) -> ModelState | None:
        """The answer given to this request before. Raises `KeyReusedError`."""
        for written in self.unrecorded:
            if (known := written.change.request) is not None and known.same_key(request):
                return written.answer
        return self.ledger.answered(request)

    def trim(self) -> None:
        """Let go of what is not needed any more."""
        wanted: set[str] = set()
        for model in self.books.models.values():
            wanted |= {model.live, model.last_good}
            if model.under_way is not None:
                wanted.add(model.under_way.bundle)
        self.residents.let_go(wanted)

    def _prepared(self, change: Change) -> tuple[Change, Books, bool]:
        """The change with its epoch, the books after it, and whether routes differ."""
        name = change.model.name
        before = self.books.models.get(name)
        epoch = before.epoch if before is not None else 0
        model = replace(change.model, epoch=epoch, revision=1 + (before.revision if before is not None else 0))
        after = self.books.having(model, change.bundles)
        old = None if before is None else routing.route(before, self.books, self.residents.handles)
        routed = routing.route(after.models[name], after, self.residents.handles) != old
        if routed:
            after = after.having(replace(model, epoch=epoch + 1), ())
        return replace(change, model=after.models[name]), after, routed

    def _written(self, change: Change, after: Books) -> Written:
        events = self.events.numbered(
            Event(
                0, self.clock(), step.action, step.bundle.model, step.bundle.id, step.bundle.version, step.previous,
                step.bundle.state, change.model.epoch, step.by.name, printable(step.words, WORDS),
            )
            for step in change.steps
        )  # fmt: skip
        return Written(change, events, status.described(after, change.model, self.gatherings, ""))

    def _write(self, work: Transaction, written: Written) -> None:
        change = written.change
        book.save(work.execute, change.model, change.bundles)
        for step in change.steps:
            work.append(draft(step, change.model))
            if step.action == DEPLOYED:  # on record by that, if it came in without one
                self.ledger.settled(work, step.bundle.id)
        self.events.save(work.execute, written.events)
        if change.request is not None:
            answers.save(work.execute, change.request, written.answer, self.clock())

    def _insist(self, after: Books, written: Written) -> ModelState:
        self._settle(after, written)
        self.unrecorded.append(written)
        self.retry()
        return status.describe(self, written.change.model.name)

    def in_force(self) -> None:
        """What the books say is on the plane: let those see it who do not wait for the lock."""
        self.table = routing.table(self.books, self.residents.handles)
        self.live = {
            name: Live(self.residents.bundle(model.live), self.residents.handles[model.live], model.epoch, model.since)
            for name, model in self.books.models.items()
            if model.live in self.residents.handles
        }
        self._changed()

    def _stand(self, change: Change, before: str) -> None:
        """A rollback is in force: let it survive a crash before it is recorded."""
        model, step = change.model, change.steps[0]
        known = self._standing.get(model.name)
        back = () if known is None else known.back
        if model.live != before:
            back += ((before, model.live),)
        words, by = printable(step.words, WORDS)[:KEPT_WORDS], (step.by.name, step.by.authenticated_by)
        self._note(Standing(model.name, model.epoch, back, words, by))

    def stood(self, standing: Standing) -> None:
        """What was in force when the server died and is again: until it is recorded it must survive the next crash."""
        self._standing[standing.model] = standing

    def _note(self, standing: Standing) -> None:
        self._standing[standing.model] = standing
        self.ledger.standing.write(tuple(self._standing.values()))

    def _recorded(self, written: Written) -> None:
        """The database has it: what stood for it is not needed any more, and told apart by its epoch if it stays."""
        model = written.change.model
        known = self._standing.get(model.name)
        if known is not None and known.epoch <= model.epoch:
            del self._standing[model.name]
            if not self._standing:
                self.ledger.standing.write(())

    def _settle(self, after: Books, written: Written) -> None:
        self.books = after
        self.in_force()
        self.events.tell(written.events)

    def _take_back(self, before: Model, epoch: int) -> None:
        """The database did not take what the plane already has: publish what was, under an epoch of its own."""
        model = replace(before, epoch=epoch)
        self._note(Standing(model.name, epoch))  # first: the epoch of what is in force must survive a crash
        self.books = self.books.having(model, ())
        self.in_force()
        self.publish(self.table)
        gathering = self.gatherings.get(model.name)
        if gathering is not None:
            gathering.again(epoch)


def new_salt() -> bytes:
    """Of a rollout: 16 bytes."""
    return secrets.token_bytes(16)
