"""Rollback: the one change that is published before it is recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kedge.audit.record import SYSTEM
from kedge.rollout import moves, states, status
from kedge.rollout.change import Change, Step
from kedge.rollout.commands import known_model
from kedge.rollout.notice import Notice
from kedge.rollout.plan import Plan
from kedge.rollout.states import WITH_TRAFFIC, Command, Event, IllegalCommandError, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.audit.record import Actor, Verdict
    from kedge.rollout.answers import Order, Request
    from kedge.rollout.book import Model
    from kedge.rollout.desk import Desk
    from kedge.rollout.states import Cause
    from kedge.rollout.values import BundleState, ModelState


def command(desk: Desk, name: str, to: str | None, order: Order) -> ModelState:
    """See `Rollouts.rollback`. What is loaded goes back without a wait; another bundle is loaded first."""
    request = order.request(Command.ROLLBACK, name, to)
    with desk.lock:
        if (known := desk.answered(request)) is not None:
            return known
        order.check(known_model(desk, name))
        target = _target(desk, known_model(desk, name), to, cold=True)
        if not target or target in desk.residents.handles:
            return _back(desk, name, target, order, request)
    bundle = desk.store.get(target)
    handle = desk.residents.load(bundle)
    with desk.lock:
        desk.residents.add(bundle, handle)
        if (known := desk.answered(request)) is not None:  # it came twice, and the other was first
            return known
        return _back(desk, name, _target(desk, known_model(desk, name), bundle.id), order, request)


def automatic(
    desk: Desk, name: str, cause: Cause, words: str, *, verdict: Verdict | None = None,
    details: dict[str, Any] | None = None,
) -> ModelState:  # fmt: skip
    """The candidate under way, or the live bundle where none is, goes back to what is known to be good.

    Raises:
        IllegalCommandError: nothing is warm to go back to.
    """
    model = known_model(desk, name)
    return _apply(desk, model, _target(desk, model, None), cause, words, by=SYSTEM, verdict=verdict, details=details)


def distrusted(desk: Desk, identity: str, words: str, details: Mapping[str, str]) -> bool:
    """See `Rollouts.distrust`."""
    model = next((one for one in desk.books.models.values() if one.live == identity), None)
    if model is None or not model.last_good or model.under_way is not None:
        return False
    plan = desk.ledger.plan_of(identity) or Plan()
    if not plan.guards.outcomes.enabled or plan.guards.outcomes.action != "gate":
        return False
    automatic(desk, model.name, Event.FAULT, words, details=dict(details))
    return True


def _candidate(desk: Desk, model: Model) -> BundleState | None:
    """The candidate under way, where it has traffic."""
    item = None if model.under_way is None else desk.books.bundles[model.under_way.bundle]
    return item if item is not None and item.state in WITH_TRAFFIC else None


def _target(desk: Desk, model: Model, to: str | None, *, cold: bool = False) -> str:
    """Id of the bundle that shall be live; empty where the one that is live stays.

    Args:
        desk: what is acted on.
        model: that is rolled back.
        to: what was asked for.
        cold: it may be a bundle that must be loaded first.
    """
    if not model.live:
        raise IllegalCommandError(f"cannot roll back '{model.name}': no bundle of it is live; legal now: deploy")
    if to is not None:
        bundle = desk.store.get(to)
        if bundle.name != model.name:
            raise IllegalCommandError(f"bundle {bundle.id[:12]} is of model '{bundle.name}', not of '{model.name}'")
        known = desk.books.bundles.get(bundle.id)
        if bundle.id == model.live:
            if _candidate(desk, model) is not None:
                return ""
            raise IllegalCommandError(f"{known} is live already; legal now: rollback to another bundle, deploy")
        if known is None or not states.targets(known.state, Event.RESTORED):
            state = "it was never deployed here" if known is None else f"it is {known.state}"
            raise IllegalCommandError(
                f"cannot roll '{model.name}' back to {bundle.version}: {state}; a rollback goes to a bundle that was "
                "live or set aside, others are deployed"
            )
        return bundle.id
    if _candidate(desk, model) is not None:
        return ""
    if target := model.last_good or (_before(desk, model) if cold else ""):
        return target
    older = ", ".join(f"{item.model}-{item.version}" for item in status.restorable(desk.books, model.name))
    raise IllegalCommandError(
        f"cannot roll back '{model.name}': no bundle that was live before it is {'left' if cold else 'warm'}; legal "
        f"now: deploy, or rollback with --to {older or 'a bundle that was live, of which there is none'}"
    )


def _before(desk: Desk, model: Model) -> str:
    """The bundle that was live before the one that is, where no last good one is warm, as after a rollback: the one
    superseded last. Empty where none is left in the store; what was rolled back is quarantined, and none of them.
    """
    stored = {entry.id for entry in desk.store.list()}
    old = [
        item
        for item in desk.books.bundles.values()
        if item.model == model.name and item.state is State.SUPERSEDED and item.id in stored
    ]
    return max(old, key=lambda item: item.since).id if old else ""


def _back(desk: Desk, name: str, target: str, order: Order, request: Request) -> ModelState:
    model = known_model(desk, name)
    order.check(model)
    subject = _candidate(desk, model) or desk.books.bundles[model.live]
    states.check(subject.state, Command.ROLLBACK, str(subject))
    words = f"rolled back by {order.by.name}{order.because}"
    return _apply(desk, model, target, Command.ROLLBACK, words, by=order.by, request=request)


def _apply(
    desk: Desk, model: Model, target: str, cause: Cause, words: str, *, by: Actor, verdict: Verdict | None = None,
    details: dict[str, Any] | None = None, request: Request | None = None,
) -> ModelState:  # fmt: skip
    steps: tuple[Step, ...] = ()
    gone = []
    rollout, candidate = model.under_way, _candidate(desk, model)
    if candidate is not None:
        gone.append(candidate)
        steps += moves.condemned(desk, candidate, cause, words, by=by, verdict=verdict, details=details)
        if candidate.id == model.last_good:  # it was on trial again: nothing goes back to it any more
            model = replace(model, last_good="")
    if target:
        old, new = desk.books.bundles[model.live], desk.books.bundles[target]
        gone.append(old)
        steps += moves.condemned(
            desk, old, cause, words, by=by, verdict=verdict, details=details if candidate is None else None
        )
        if rollout is not None and candidate is None:
            waiting = desk.books.bundles[rollout.bundle]
            reason = "the bundle it was to be compared with was rolled back"
            aside = desk.moved(waiting, Command.ABORT, State.ABORTED, reason)
            steps += (Step("rollout.aborted", aside, waiting.state, reason, by),)
            new = aside if aside.id == target else new
        reason = f"{old} was rolled back"
        steps += (Step("bundle.restored", desk.moved(new, Event.RESTORED, State.LIVE, reason), new.state, reason, by),)
        model = replace(model, live=target, last_good="", since=desk.clock())
        newest = model.rollout
        if rollout is None and newest is not None and newest.bundle in {old.id, target}:
            model = replace(model, rollout=replace(newest, decision=words if newest.bundle == old.id else reason))
    if rollout is not None:
        model = replace(model, rollout=moves.ended(desk, replace(rollout, share=0.0, decision=words)))
    answer = desk.roll_back(Change(model, steps, request))
    desk.gatherings.pop(model.name, None)
    for item in gone:
        desk.tell(Notice("rolled back", desk.books.bundles[item.id], words))
    return answer
