"""The ways a candidate goes, each as one change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kedge.audit.record import SYSTEM
from kedge.plane import cells
from kedge.rollout.change import Change, Step
from kedge.rollout.frozen import freeze
from kedge.rollout.gathering import Gathering
from kedge.rollout.live import Tops
from kedge.rollout.notice import Notice
from kedge.rollout.states import Command, Event, IllegalCommandError, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.audit.record import Actor, Verdict
    from kedge.plane.cells import Cell, CellKey
    from kedge.rollout.answers import Request
    from kedge.rollout.book import Model, Rollout
    from kedge.rollout.desk import Desk
    from kedge.rollout.frozen import Frozen
    from kedge.rollout.stages import Stage
    from kedge.rollout.states import Cause
    from kedge.rollout.values import BundleState, ModelState


def enter(
    desk: Desk,
    model: Model,
    rollout: Rollout,
    stage: Stage,
    *,
    cause: Cause,
    words: str,
    by: Actor = SYSTEM,
    details: dict[str, Any] | None = None,
    request: Request | None = None,
) -> ModelState:
    """Take the candidate to a stage. Raises as `Desk.apply`."""
    if stage.state is State.LIVE:
        return _go_live(desk, model, rollout, stage, cause=cause, words=words, by=by, details=details, request=request)
    candidate = desk.books.bundles[rollout.bundle]
    rollout = replace(
        _frozen(desk, model, rollout, stage),
        held=None,
        paused_by=None,
        withdrawn=False,
        step=stage.step,
        share=stage.share,
        step_started=desk.clock(),
        decision=words,
    )
    step = Step(
        "rollout.started" if cause is Event.STARTED else "rollout.advanced",
        desk.moved(candidate, cause, stage.state, words),
        candidate.state,
        words,
        by,
        details=details,
    )
    answer = desk.apply(Change(replace(model, rollout=rollout), (step,), request))
    _begin(desk, model.name, rollout, answer.epoch)
    _went_on(desk, candidate, cause, words)
    return answer


def _went_on(desk: Desk, candidate: BundleState, cause: Cause, words: str) -> None:
    """Whatever held a rollout before does not any more; one that only begins was not held."""
    if cause is not Event.STARTED:
        desk.tell(Notice("went on", desk.books.bundles[candidate.id], words))


def _go_live(
    desk: Desk,
    model: Model,
    rollout: Rollout,
    stage: Stage,
    *,
    cause: Cause,
    words: str,
    by: Actor,
    details: dict[str, Any] | None,
    request: Request | None,
) -> ModelState:
    candidate, old = desk.books.bundles[rollout.bundle], desk.books.bundles.get(model.live)
    steps = [
        Step("rollout.promoted", desk.moved(candidate, cause, State.LIVE, words), candidate.state, words, by,
             details=details)
    ]  # fmt: skip
    if old is not None:
        reason = f"{candidate} is live"
        steps.append(
            Step(
                "bundle.superseded", desk.moved(old, Event.SUPERSEDED, State.SUPERSEDED, reason), old.state, reason, by
            )
        )
    over = ended(desk, replace(rollout, step=stage.step, share=stage.share, decision=words))
    last_good = model.live if model.live in desk.residents.handles else ""
    after = replace(model, live=candidate.id, last_good=last_good, since=desk.clock(), rollout=over)
    answer = desk.apply(Change(after, tuple(steps), request))
    desk.gatherings.pop(model.name, None)
    _went_on(desk, candidate, cause, words)
    return answer


def pause(desk: Desk, model: Model, rollout: Rollout, cause: Cause, words: str, *, by: Actor = SYSTEM,
          request: Request | None = None, details: dict[str, Any] | None = None) -> ModelState:  # fmt: skip
    """Hold the candidate where it is; its traffic stays as it is. Raises as `Desk.apply`."""
    candidate = desk.books.bundles[rollout.bundle]
    held = replace(rollout, held=candidate.state, paused_by=by, decision=words)
    step = Step(
        "rollout.paused", desk.moved(candidate, cause, State.PAUSED, words), candidate.state, words, by, details=details
    )
    return desk.apply(Change(replace(model, rollout=held), (step,), request))


def resume(
    desk: Desk, model: Model, rollout: Rollout, stage: Stage, words: str, *, by: Actor, request: Request | None
) -> ModelState:
    """Go on with what was paused, and give traffic back that a restart took. Raises as `Desk.apply`."""
    candidate = desk.books.bundles[rollout.bundle]
    again = replace(
        _frozen(desk, model, rollout, stage),
        held=None,
        paused_by=None,
        withdrawn=False,
        # Without traffic, as after a restart, time was no time on trial.
        step_started=desk.clock() if rollout.withdrawn else rollout.step_started,
        resumed=desk.clock(),
        accepted=rollout.accepted | firing(rollout),
        decision=words,
    )
    step = Step(
        "rollout.resumed", desk.moved(candidate, Command.RESUME, stage.state, words), candidate.state, words, by
    )
    epoch = model.epoch
    answer = desk.apply(Change(replace(model, rollout=again), (step,), request))
    if answer.epoch != epoch:
        _begin(desk, model.name, again, answer.epoch)
    _went_on(desk, candidate, Command.RESUME, words)
    return answer


def abort(
    desk: Desk, model: Model, rollout: Rollout, cause: Cause, words: str, *, by: Actor = SYSTEM,
    request: Request | None = None,
) -> ModelState:  # fmt: skip
    """Set the candidate aside. Raises as `Desk.apply`."""
    candidate = desk.books.bundles[rollout.bundle]
    step = Step("rollout.aborted", desk.moved(candidate, cause, State.ABORTED, words), candidate.state, words, by)
    over = ended(desk, replace(rollout, share=0.0, decision=words))
    answer = desk.apply(Change(replace(model, rollout=over), (step,), request))
    desk.gatherings.pop(model.name, None)
    _went_on(desk, candidate, cause, words)
    return answer


def condemned(
    desk: Desk, item: BundleState, cause: Cause, words: str, *, by: Actor, verdict: Verdict | None = None,
    details: dict[str, Any] | None = None,
) -> tuple[Step, ...]:  # fmt: skip
    """From traffic to quarantine: the three records of a rollback."""
    going = desk.moved(item, cause, State.ROLLING_BACK, words)
    gone = desk.moved(going, Event.WITHDRAWN, State.ROLLED_BACK, words)
    kept = desk.moved(gone, Event.QUARANTINED, State.QUARANTINED, words)
    return (
        Step("rollout.rollback_decided", going, item.state, words, by, verdict, details),
        Step("rollout.rolled_back", gone, going.state, words, by),
        Step("bundle.quarantined", kept, gone.state, words, by),
    )


def firing(rollout: Rollout) -> frozenset[str]:
    """Guards that hold it now."""
    return frozenset(item.guard for item in rollout.readings if item.fired and item.action == "hold")


def ended(desk: Desk, rollout: Rollout) -> Rollout:
    """A rollout that is over, with the evidence it ended on."""
    known = next((g for g in desk.gatherings.values() if g.candidate == rollout.bundle), None)
    if known is not None:
        rollout = replace(rollout, evidence=known.steps(), shadow=known.shadow())
    return replace(rollout, ended=True, held=None, paused_by=None)


def gathering(desk: Desk, model: str, rollout: Rollout) -> Gathering:
    """What gathers the evidence of a model's rollout under way."""
    known = desk.gatherings.get(model)
    if known is None:
        tops = Tops(desk.residents)
        known = Gathering(rollout.bundle, rollout.control, rollout.evidence, rollout.shadow, tops)
        desk.gatherings[model] = known
    return known


def _frozen(desk: Desk, model: Model, rollout: Rollout, stage: Stage) -> Rollout:
    """Before arms are compared: what is known of the control stays as it is while the stretch lasts."""
    if stage.share <= 0:
        return rollout
    return with_lines(rollout, known_now(desk, model, rollout, cells.decode(desk.plane.snapshot())))


def known_now(desk: Desk, model: Model, rollout: Rollout, taken: Mapping[CellKey, Cell]) -> Frozen:
    """What a stretch that begins now would know of the control."""
    if model.live not in desk.residents.handles:
        raise IllegalCommandError(
            f"{desk.books.bundles[model.live]} is live and not served, so there is nothing to compare with: "
            "legal now: abort, then deploy with strategy 'swap'"
        )
    resident = desk.residents.bundle
    return freeze(taken, resident(model.live), resident(rollout.bundle), rollout.slow_ns)


def with_lines(rollout: Rollout, frozen: Frozen) -> Rollout:
    """A rollout under lines just frozen. Rates stay those of before the arms were first compared."""
    baseline, known = frozen.baseline, rollout.baseline
    if known.rates:
        # Lines for larger batches come with more units that one of those strikes; after a restart few runs are known.
        units = {name: max(count, known.together.get(name, 1)) for name, count in baseline.together.items()}
        baseline = replace(known, blind=baseline.blind, together=units)
    return replace(rollout, slow_ns=frozen.slow_ns, baseline=baseline)


def refreeze(desk: Desk, model: Model, rollout: Rollout, frozen: Frozen) -> None:
    """Begin a new stretch of the stage under way, under lines that cover more. Raises as `Desk.apply`."""
    candidate = desk.books.bundles[rollout.bundle]
    words = (
        f"run times of the control are known for batches of more sizes: {100 * frozen.covers:.0f} % of rows stand in "
        f"such, {100 * frozen.covered:.0f} % before; slow runs are told there from now on"
    )
    step = Step("rollout.refrozen", candidate, candidate.state, words)
    again = with_lines(rollout, frozen)
    answer = desk.apply(Change(replace(model, rollout=again), (step,)))
    _begin(desk, model.name, again, answer.epoch)


def _begin(desk: Desk, name: str, rollout: Rollout, epoch: int) -> None:
    """A stretch of a rollout as it is now is in force."""
    together = rollout.baseline.together.get("slow", 1)
    gathering(desk, name, rollout).begin(rollout.step, rollout.share, epoch, rollout.slow_ns, together)
