"""Where models stand, for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.rollout import states
from kedge.rollout.states import Command, Event, State
from kedge.rollout.values import ModelState, RolloutState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.rollout.book import Books, Model, Rollout
    from kedge.rollout.desk import Desk
    from kedge.rollout.gathering import Gathering
    from kedge.rollout.values import BundleState


def describe(desk: Desk, model: str) -> ModelState:
    """Where a model stands now; under the manager's lock."""
    return described(desk.books, desk.books.models[model], desk.gatherings, desk.why_unrecorded)


def described(books: Books, model: Model, gatherings: Mapping[str, Gathering], unrecorded: str) -> ModelState:
    """Where a model stands by these books."""
    rollout = model.rollout
    return ModelState(
        model=model.name,
        live=books.bundles.get(model.live),
        last_good=books.bundles.get(model.last_good),
        epoch=model.epoch,
        since=model.since,
        rollout=None if rollout is None else _rollout(books, rollout, gatherings.get(model.name)),
        quarantined=tuple(
            item
            for _, item in sorted(books.bundles.items())
            if item.model == model.name and item.state is State.QUARANTINED
        ),
        legal=commands(books, model),
        revision=model.revision,
        unrecorded=unrecorded,
    )


def commands(books: Books, model: Model) -> tuple[Command, ...]:
    """Commands that fit a model now: a rollback only where there is a bundle to go back to."""
    if model.under_way is not None:
        return states.legal(books.bundles[model.under_way.bundle].state)
    back = model.live and (model.last_good or restorable(books, model.name))
    return (Command.DEPLOY, Command.ROLLBACK) if back else (Command.DEPLOY,)


def restorable(books: Books, model: str) -> tuple[BundleState, ...]:
    """Bundles of a model that a rollback may name."""
    return tuple(
        item
        for _, item in sorted(books.bundles.items())
        if item.model == model and states.targets(item.state, Event.RESTORED)
    )


def _rollout(books: Books, rollout: Rollout, gathering: Gathering | None) -> RolloutState:
    steps = rollout.evidence if gathering is None or rollout.ended else gathering.steps()
    return RolloutState(
        candidate=books.bundles[rollout.bundle],
        control=books.bundles.get(rollout.control),
        plan=rollout.plan,
        plan_digest=rollout.plan.digest(),
        held=rollout.held,
        step=rollout.step,
        steps=len(rollout.plan.steps),
        share=0.0 if rollout.withdrawn else rollout.share,
        started=rollout.started,
        step_started=rollout.step_started,
        units=(sum(step.canary.units for step in steps), sum(step.control.units for step in steps)),
        readings=rollout.readings,
        decision=rollout.decision,
        paused_by=rollout.paused_by,
        over=rollout.ended,
    )
