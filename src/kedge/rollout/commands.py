"""What people and programs may ask for, beside `deploy`. Each checks, decides and applies under the manager's lock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.rollout import moves, stages, states, status
from kedge.rollout.change import Change, Step
from kedge.rollout.live import NotLiveError
from kedge.rollout.notice import Notice
from kedge.rollout.states import Command, IllegalCommandError, State

if TYPE_CHECKING:
    from kedge.rollout.answers import Order
    from kedge.rollout.book import Model, Rollout
    from kedge.rollout.desk import Desk
    from kedge.rollout.values import BundleState, ModelState


def promote(desk: Desk, name: str, order: Order) -> ModelState:
    """See `Rollouts.promote`."""
    request = order.request(Command.PROMOTE, name)
    if (known := desk.answered(request)) is not None:
        return known
    model, rollout, item = _under_way(desk, name, Command.PROMOTE, order)
    state = rollout.held if item.state is State.PAUSED and rollout.held is not None else item.state
    stage = stages.following(rollout.plan, state, rollout.step)
    words = f"to {stage}, by {order.by.name}{order.because}"
    rollout = replace(rollout, accepted=rollout.accepted | moves.firing(rollout))
    return moves.enter(desk, model, rollout, stage, cause=Command.PROMOTE, words=words, by=order.by, request=request)


def pause(desk: Desk, name: str, order: Order) -> ModelState:
    """See `Rollouts.pause`."""
    request = order.request(Command.PAUSE, name)
    if (known := desk.answered(request)) is not None:
        return known
    model, rollout, _ = _under_way(desk, name, Command.PAUSE, order)
    words = f"paused by {order.by.name}{order.because}"
    return moves.pause(desk, model, rollout, Command.PAUSE, words, by=order.by, request=request)


def resume(desk: Desk, name: str, order: Order) -> ModelState:
    """See `Rollouts.resume`."""
    request = order.request(Command.RESUME, name)
    if (known := desk.answered(request)) is not None:
        return known
    model, rollout, _ = _under_way(desk, name, Command.RESUME, order)
    stage = next(one for one in stages.stages(rollout.plan) if (one.state, one.step) == (rollout.held, rollout.step))
    words = f"resumed by {order.by.name}{order.because}"
    return moves.resume(desk, model, rollout, stage, words, by=order.by, request=request)


def abort(desk: Desk, name: str, order: Order) -> ModelState:
    """See `Rollouts.abort`."""
    request = order.request(Command.ABORT, name)
    if (known := desk.answered(request)) is not None:
        return known
    model, rollout, _ = _under_way(desk, name, Command.ABORT, order)
    words = f"aborted by {order.by.name}{order.because}"
    return moves.abort(desk, model, rollout, Command.ABORT, words, by=order.by, request=request)


def clear_quarantine(desk: Desk, identity: str, order: Order) -> BundleState:
    """See `Rollouts.clear_quarantine`."""
    item = desk.books.bundles.get(identity)
    if item is None:
        raise IllegalCommandError(f"bundle '{identity[:64]}' was never deployed here, so it is not quarantined")
    request = order.request(Command.CLEAR_QUARANTINE, identity)
    if desk.answered(request) is not None:
        return item
    if not states.targets(item.state, Command.CLEAR_QUARANTINE):
        raise IllegalCommandError(f"{item} is {item.state}, not {State.QUARANTINED}: nothing is to be cleared")
    words = f"cleared by {order.by.name}{order.because}"
    clear = desk.moved(item, Command.CLEAR_QUARANTINE, State.ABORTED, words)
    step = Step("bundle.quarantine_cleared", clear, item.state, words, order.by)
    desk.apply(Change(desk.books.models[item.model], (step,), request))
    desk.tell(Notice("cleared", clear, words))
    return clear


def _under_way(desk: Desk, name: str, command: Command, order: Order) -> tuple[Model, Rollout, BundleState]:
    """The rollout that a command is about.

    Raises:
        NotLiveError: no such model.
        ChangedError: the model is not as it was when this was decided on.
        IllegalCommandError: the command does not fit, naming what does.
    """
    model = known_model(desk, name)
    order.check(model)
    rollout = model.under_way
    subject = rollout.bundle if rollout is not None else model.live
    if not subject:
        raise IllegalCommandError(f"cannot {command} '{name}': no bundle of it is live or under way; legal now: deploy")
    item = desk.books.bundles[subject]
    if rollout is None:
        fits = ", ".join(status.commands(desk.books, model))
        raise IllegalCommandError(
            f"cannot {command} {item}: it is {item.state}, no rollout is under way; legal now: {fits}"
        )
    states.check(item.state, command, str(item))
    return model, rollout, item


def known_model(desk: Desk, name: str) -> Model:
    """A model. Raises `NotLiveError`."""
    model = desk.books.models.get(name)
    if model is None:
        known = ", ".join(sorted(desk.books.models)) or "none"
        raise NotLiveError(f"no model '{name}' is known here; known: {known}")
    return model


def current(desk: Desk, name: str) -> ModelState:
    """Where a model stands. Raises `NotLiveError`."""
    return status.describe(desk, known_model(desk, name).name)
