"""The evaluator of rollouts: each second from a snapshot to evidence, readings, a decision, and what it asks."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kedge.audit.record import Verdict, decimal
from kedge.errors import KedgeError
from kedge.plane import cells
from kedge.rollout import moves, rollback, stages
from kedge.rollout.change import Change, Step
from kedge.rollout.decide import Progress, decide
from kedge.rollout.frozen import score_of
from kedge.rollout.guard_slow import COVERED
from kedge.rollout.guards import read
from kedge.rollout.notice import Notice
from kedge.rollout.states import WITH_TRAFFIC, Event, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kedge.plane.cells import Cell, CellKey
    from kedge.rollout.book import Model, Rollout
    from kedge.rollout.decide import Decision
    from kedge.rollout.desk import Desk
    from kedge.rollout.reading import OutcomeStep, Reading
    from kedge.rollout.values import BundleState

DEAD_SECONDS: Final = 10.0
"""Without one completed look at a rollout with traffic: it is held, and somebody is told."""
UNSEEN: Final = (
    f"its evidence was not looked at for {DEAD_SECONDS:g} seconds: it goes no further; the server's log says why"
)
LINES_SECONDS: Final = 30.0
"""Between two looks at whether lines of slow runs could be frozen for more batch sizes."""
LINES_GAIN: Final = 0.05
"""Part of all rows that new lines must cover beyond the old ones."""
LARGEST_LOG_E: Final = 700.0
"""Of an e-value in a record, which is a finite number."""

log = logging.getLogger(__name__)


class Evaluation:
    """Looks at every rollout with traffic. Used under the manager's lock.

    Args:
        desk: what it acts on.
        monotonic: seconds.
        outcomes: labelled units of a rollout, by candidate, control and salt; it must not block.
    """

    def __init__(
        self,
        desk: Desk,
        monotonic: Callable[[], float],
        outcomes: Callable[[str, str, bytes], Sequence[OutcomeStep]] = lambda *_: (),
    ) -> None:
        self._desk = desk
        self._outcomes = outcomes
        self._monotonic = monotonic
        self._alive: dict[int, float] = {}
        self._told: set[tuple[int, State, int]] = set()
        self._trouble: dict[int, str] = {}
        self._undone: dict[int, str] = {}
        self._lines: dict[int, float] = {}
        self._ahead: dict[tuple[int, float], float] = {}

    def snapshot(self) -> Mapping[CellKey, Cell]:
        """What `tick` looks at, taken without the lock; empty where no rollout has traffic."""
        with self._desk.lock:
            running = self._running()
        return cells.decode(self._desk.plane.snapshot()) if running else {}

    def tick(self, taken: Mapping[CellKey, Cell]) -> None:
        """Look once at all of them. A fault in one leaves the others alone; the dead-man switch sees it."""
        for model, rollout in self._running():
            try:
                moves.gathering(self._desk, model.name, rollout).look(taken)
                self._look(model, rollout)
                self._refreeze(model.name, rollout.number, taken)
            except Exception as error:
                if self._trouble.get(rollout.number) != repr(error):
                    log.exception(
                        "a rollout cannot be evaluated",
                        extra={"data": {"model": model.name, "reason": str(error)}},
                    )
                self._trouble[rollout.number] = repr(error)
            else:
                self._alive[rollout.number] = self._monotonic()
                self._trouble.pop(rollout.number, None)

    def check_alive(self) -> None:
        """Hold every rollout that was not looked at for `DEAD_SECONDS`: nobody would see it go wrong."""
        now = self._monotonic()
        for model, rollout in self._running():
            seen = self._alive.setdefault(rollout.number, now)
            item = self._desk.books.bundles[rollout.bundle]
            if now - seen < DEAD_SECONDS or rollout.withdrawn:
                continue
            self._alive[rollout.number] = now
            self._desk.tell(Notice("held", item, UNSEEN))
            if item.state is State.PAUSED:  # with traffic all the same, which no guard sees
                continue
            try:
                moves.pause(self._desk, model, rollout, Event.HELD, UNSEEN)
            except KedgeError as error:
                log.warning("a rollout that nobody looks at is not paused: %s", error)

    def stuck(self) -> None:
        """Whoever decides hangs: nothing can go on then, and somebody should know. Called without the lock."""
        now, books = self._monotonic(), self._desk.books
        for model in books.models.values():
            rollout = model.under_way
            if rollout is None or now - self._alive.setdefault(rollout.number, now) < DEAD_SECONDS:
                continue
            self._alive[rollout.number] = now
            self._desk.tell(Notice("held", books.bundles[rollout.bundle], UNSEEN))

    def keep(self) -> None:
        """Write down how far rollouts are, before the server ends. Raises `AuditError`."""
        running = self._running()
        if running and not self._desk.unrecorded:
            taken = cells.decode(self._desk.plane.snapshot())
            for model, rollout in running:
                known = moves.gathering(self._desk, model.name, rollout)
                known.look(taken)
                item = self._desk.books.bundles[rollout.bundle]
                counted = replace(rollout, evidence=known.steps(), shadow=known.shadow())
                step = Step("rollout.kept", item, item.state, "the server ends; the evidence so far is kept")
                self._desk.apply(Change(replace(model, rollout=counted), (step,)))

    def _running(self) -> list[tuple[Model, Rollout]]:
        books = self._desk.books
        return [
            (model, rollout)
            for _, model in sorted(books.models.items())
            if (rollout := model.under_way) is not None and books.bundles[rollout.bundle].state in WITH_TRAFFIC
        ]

    def _look(self, model: Model, rollout: Rollout) -> None:
        desk, now = self._desk, self._desk.clock()
        item, known = desk.books.bundles[rollout.bundle], moves.gathering(desk, model.name, rollout)
        if rollout.baseline.score is None and rollout.control in desk.residents.handles:
            score = score_of(desk.residents.bundle(rollout.control))
            rollout = replace(rollout, baseline=replace(rollout.baseline, score=score))
        steps, shadow = known.steps(), known.shadow()
        outcomes = self._outcomes(rollout.bundle, rollout.control, rollout.salt)
        readings = read(
            rollout.plan, steps, rollout.baseline, shadow=shadow, confidence=known.confidence(), outcomes=outcomes
        )
        progress = Progress(
            item.state,
            rollout.step,
            self._steady(rollout.number, rollout.started, now),
            self._steady(rollout.number, rollout.step_started, now),
            steps,
            shadow,
            accepted=rollout.accepted,
            resumed=None if rollout.resumed is None else self._steady(rollout.number, rollout.resumed, now),
        )
        decision = decide(rollout.plan, progress, readings, now)
        rollout = replace(rollout, readings=decision.readings)
        if item.state is not State.PAUSED or decision.kind != "hold":  # what is paused goes on saying why
            rollout = replace(rollout, decision=decision.reason)
        model = replace(model, rollout=rollout)
        desk.books = desk.books.having(model, ())
        if decision.kind not in {"hold", "rollback"} and desk.unrecorded:
            return
        try:
            self._act(model, rollout, item, decision)
        except KedgeError as error:
            if self._undone.get(rollout.number) != str(error):
                if decision.kind == "rollback":
                    words = f"it is to be rolled back, which cannot be done yet ({error}): {decision.reason}"
                    desk.tell(Notice("held", item, words))
                log.error(  # noqa: TRY400 - the reason says it all
                    "what the evidence of a rollout asks for cannot be done; it is tried again every second",
                    extra={"data": {"model": model.name, "decision": decision.reason, "reason": str(error)}},
                )
            self._undone[rollout.number] = str(error)

    def _steady(self, number: int, moment: float, now: float) -> float:
        """A moment of a rollout, as the wall clock would have had it if it had not been set since the first look.

        A clock that jumps ahead must not end a trial early, and one that is set back must not keep it waiting.
        """
        ahead = now - self._monotonic()
        return moment + ahead - self._ahead.setdefault((number, moment), ahead)

    def _refreeze(self, name: str, number: int, taken: Mapping[CellKey, Cell]) -> None:
        """Where slow runs cannot be told of most of the canary's units, see whether the control has run enough by now.

        It goes through on a candidate in traffic alone, and each time a new stretch begins; so not more often than each
        `LINES_SECONDS`, and only for a gain worth it.
        """
        desk, now = self._desk, self._monotonic()
        model = desk.books.models[name]
        rollout = model.under_way
        if rollout is None or rollout.number != number or desk.unrecorded or not rollout.plan.guards.slow.enabled:
            return
        if desk.books.bundles[rollout.bundle].state not in {State.CANARY, State.BAKING}:
            return
        looked = self._lines.setdefault(number, now)
        if now - looked < LINES_SECONDS:
            return
        self._lines[number] = now
        ran, judged = moves.gathering(desk, name, rollout).steps()[-1].covered
        if judged >= COVERED * ran:
            return
        frozen = moves.known_now(desk, model, rollout, taken)
        if frozen.covers >= frozen.covered + LINES_GAIN:
            moves.refreeze(desk, model, rollout, frozen)

    def _act(self, model: Model, rollout: Rollout, item: BundleState, decision: Decision) -> None:
        desk, details = self._desk, numbers(decision.readings)
        match decision.kind:
            case "rollback":
                verdict = _verdict(decision)
                rollback.automatic(desk, model.name, Event.FAULT, decision.reason, verdict=verdict, details=details)
            case "pause":
                moves.pause(desk, model, rollout, Event.HELD, decision.reason, details=details)
                desk.tell(Notice("held", item, decision.reason))
            case "hold":
                place = (rollout.number, item.state, rollout.step)
                if decision.waits_for_approval and place not in self._told:
                    self._told.add(place)
                    desk.tell(Notice("held", item, decision.reason))
            case _:
                stage = stages.following(rollout.plan, item.state, rollout.step)
                cause = Event.FINISHED if decision.kind == "finish" else Event.ADVANCED
                moves.enter(desk, model, rollout, stage, cause=cause, words=decision.reason, details=details)


def numbers(readings: tuple[Reading, ...]) -> dict[str, Any]:
    """What a decision rests on, as a record holds it: everything to recompute it from."""
    return {
        "readings": [
            {
                "guard": item.guard,
                "verdict": item.verdict,
                "numbers": dict(item.numbers),
                **{
                    name: decimal(value)
                    for name in ("log_e", "upper", "lower")
                    if (value := getattr(item, name)) is not None and math.isfinite(value)
                },
            }
            for item in readings
            if item.verdict != "off"
        ]
    }


def _verdict(decision: Decision) -> Verdict | None:
    reading = next((item for item in decision.readings if item.guard == decision.guard), None)
    if reading is None:
        return None
    e_value = None if reading.log_e is None else decimal(math.exp(min(reading.log_e, LARGEST_LOG_E)))
    return Verdict(test=reading.guard, decision=reading.verdict, e_value=e_value, n=reading.n)
