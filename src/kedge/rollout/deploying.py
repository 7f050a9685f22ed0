"""`deploy`: from a bundle in the store to the first stage of its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.errors import KedgeError
from kedge.rollout import moves, states, status
from kedge.rollout import plan as plans
from kedge.rollout.book import Model, Rollout
from kedge.rollout.change import DEPLOYED, Change, Step
from kedge.rollout.desk import new_salt
from kedge.rollout.plan import Plan
from kedge.rollout.stages import stages
from kedge.rollout.states import Command, Event, IllegalCommandError, State
from kedge.rollout.values import BundleState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.audit.gate import Decision
    from kedge.bundle.contents import Bundle
    from kedge.rollout.answers import Order
    from kedge.rollout.desk import Desk
    from kedge.rollout.plan import Strategy
    from kedge.rollout.values import ModelState


def deploy(
    desk: Desk,
    reference: str,
    strategy: Strategy | None,
    plan: Plan | Mapping[str, object] | None,
    order: Order,
) -> ModelState:
    """See `Rollouts.deploy`. The lock is held for decisions, not while files are read and models loaded."""
    bundle = desk.store.get(reference)
    request = order.request(Command.DEPLOY, bundle.id, strategy, None if plan is None else _said(plan).digest())
    with desk.lock:
        known = desk.answered(request)
        if known is not None:
            return known
        live = desk.books.models.get(bundle.name)
        over = desk.store.get(live.live) if live is not None and live.live else None
        number = _receive(desk, bundle, strategy, plan, order, allowed=desk.doors.check(bundle, over))
    try:
        desk.store.verify_stored(bundle.id)
    except KedgeError as error:
        _refuse(desk, bundle.name, number, f"its files are not what its id says: {error}")
        raise
    with desk.lock:
        _advance(desk, bundle.name, number, Event.VERIFIED, "every file as listed")
        loaded = bundle.id in desk.residents.handles
    if not loaded:
        try:
            handle = desk.residents.load(bundle)
        except KedgeError as error:
            _refuse(desk, bundle.name, number, f"it does not load: {error}")
            raise
        with desk.lock:
            desk.residents.add(bundle, handle)
    with desk.lock:
        _advance(desk, bundle.name, number, Event.LOADED, "loaded, golden rows as built")
        model, rollout = _ours(desk, bundle.name, number)
        stage = stages(rollout.plan)[0]
        words = f"{stage}{order.because}"
        return moves.enter(desk, model, rollout, stage, cause=Event.STARTED, words=words, by=order.by, request=request)


def _receive(
    desk: Desk,
    bundle: Bundle,
    strategy: Strategy | None,
    plan: Plan | Mapping[str, object] | None,
    order: Order,
    *,
    allowed: Decision | None,
) -> int:
    """Take the command; returns the number of the rollout."""
    desk.refuse_unrecorded()
    model = desk.books.models.get(bundle.name) or Model(bundle.name)
    known = desk.books.bundles.get(bundle.id)
    if known is not None and known.state is State.QUARANTINED:
        raise IllegalCommandError(
            f"{known} is QUARANTINED, where 'deploy' does not fit; legal now, by a person who looked why: "
            f"kedge quarantine clear {known.model}-{known.version} --reason TEXT"
        )
    if known is not None and known.state is not State.LIVE:
        states.check(known.state, Command.DEPLOY, str(known))
    if model.under_way is not None:
        other = desk.books.bundles[model.under_way.bundle]
        commands = ", ".join(states.legal(other.state))
        raise IllegalCommandError(
            f"cannot deploy {bundle.name} {bundle.version}: {other} is under way, {other.state}; legal now: {commands}"
        )
    if known is not None and known.state is State.LIVE:
        fits = ", ".join(status.commands(desk.books, model))
        raise IllegalCommandError(f"{known} is live already; legal now: {fits}, of another bundle")
    chosen = _plan(bundle, strategy, plan, live=model.live in desk.residents.handles)
    now = desk.clock()
    words = order.reason or f"deployed as {chosen.strategy}"
    item = BundleState(bundle.id, bundle.name, bundle.version, State.RECEIVED, now, words)
    if known is not None:
        item = desk.moved(known, Command.DEPLOY, State.RECEIVED, words)
    rollout = Rollout(
        number=desk.number(),
        bundle=bundle.id,
        control=model.live,
        plan=chosen,
        salt=new_salt(),
        started=now,
        step_started=now,
        by=order.by,
        decision=words,
    )
    details: dict[str, object] = {"plan": chosen.model_dump_json(), "strategy": chosen.strategy, "control": model.live}
    if allowed is not None:
        details["signed"] = [{"role": one.role, "key": one.key} for one in allowed.signed]
    step = Step(DEPLOYED, item, None if known is None else known.state, words, order.by, details=details)
    desk.apply(Change(replace(model, rollout=rollout), (step,)))
    return rollout.number


def _plan(bundle: Bundle, strategy: Strategy | None, plan: Plan | Mapping[str, object] | None, *, live: bool) -> Plan:
    """The plan to follow: what was given, else what the bundle brings, else the default.

    Raises:
        PlanError: it is not a plan.
        IllegalCommandError: there is nothing to compare the candidate with, or strategy and plan disagree.
    """
    own = getattr(bundle.serving, "rollout", None)
    if plan is not None:
        chosen = _said(plan)
        if strategy is not None and strategy != chosen.strategy:
            raise IllegalCommandError(f"strategy '{strategy}' was asked for, and the plan says '{chosen.strategy}'")
    elif strategy is None and not live:
        return Plan.default("swap")
    elif own is not None and (strategy is None or strategy == own.get("strategy", "canary")):
        chosen = plans.read(own)
    else:
        chosen = Plan.default(strategy or "canary")
    if not live and stages(chosen)[0].state is not State.LIVE:
        raise IllegalCommandError(
            f"no bundle of model '{bundle.name}' is live, so there is nothing to compare {bundle.version} with: "
            "deploy it with strategy 'swap'"
        )
    return chosen


def _said(plan: Plan | Mapping[str, object]) -> Plan:
    return plan if isinstance(plan, Plan) else plans.read(plan)


def _ours(desk: Desk, name: str, number: int) -> tuple[Model, Rollout]:
    """The model, and the rollout that this deployment began. Raises `IllegalCommandError` if it was ended meanwhile."""
    model = desk.books.models[name]
    rollout = model.under_way
    if rollout is None or rollout.number != number:
        newest = model.rollout
        why = f": {newest.decision}" if newest is not None and newest.number == number else ""
        raise IllegalCommandError(f"the deployment was set aside while it was being prepared{why}")
    return model, rollout


def _advance(desk: Desk, name: str, number: int, event: Event, words: str) -> None:
    model, rollout = _ours(desk, name, number)
    item = desk.books.bundles[rollout.bundle]
    (target,) = states.targets(item.state, event)
    step = Step(f"rollout.{target.lower()}", desk.moved(item, event, target, words), item.state, words)
    desk.apply(Change(replace(model, rollout=rollout), (step,)))


def _refuse(desk: Desk, name: str, number: int, words: str) -> None:
    with desk.lock:
        model, rollout = _ours(desk, name, number)
        moves.abort(desk, model, rollout, Event.REFUSED, words)
