"""A start: what was live serves again, at 100 %; what was under way waits for a person, or is not trusted any more."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kedge.audit.errors import AuditError
from kedge.errors import KedgeError
from kedge.rollout import moves, states
from kedge.rollout.change import Change, Step
from kedge.rollout.notice import Notice
from kedge.rollout.state import StateError
from kedge.rollout.states import UNDER_WAY, Event, State
from kedge.rollout.values import BundleState

if TYPE_CHECKING:
    from kedge.rollout.book import Model, Rollout
    from kedge.rollout.desk import Desk

ADOPTED: Final = "live since before states of bundles were kept"

log = logging.getLogger(__name__)


def restore(desk: Desk, process: int) -> None:
    """See `Rollouts.restore`. Where nothing can be recorded, what is live serves all the same."""
    unclean = desk.ledger.unclean()
    adopted = [change for _, model in sorted(desk.books.models.items()) for change in _load(desk, model)]
    for change in adopted:
        desk.found(change)
    for _, model in sorted(desk.books.models.items()):
        if model.under_way is not None:
            _put_right(desk, model, model.under_way, unclean=unclean)
    try:
        # Not before what an unclean end left is put right: a start that fails here must find the same again.
        desk.ledger.began(process, desk.clock())
    except AuditError as error:
        log.error(  # noqa: TRY400 - the reason says it all
            "this start is not recorded, and nothing can be changed for now", extra={"data": {"reason": str(error)}}
        )
    desk.in_force()
    desk.publish(desk.table)
    for _, model in sorted(desk.books.models.items()):
        if model.under_way is not None:
            _warm(desk, model, model.under_way)


def _load(desk: Desk, model: Model) -> list[Change]:
    """The live bundle must load; the last good one should. Returns what is to be recorded of it."""
    adopted = []
    if model.live:
        try:
            bundle = desk.store.get(model.live)
        except KedgeError as error:
            raise StateError(f"bundle {model.live[:12]} is live for '{model.name}' but unusable: {error}") from error
        desk.residents.add(bundle, desk.residents.load(bundle))
        if model.live not in desk.books.bundles:
            item = BundleState(bundle.id, bundle.name, bundle.version, State.LIVE, model.since, ADOPTED)
            desk.books = desk.books.having(model, (item,))
            adopted.append(Change(model, (Step("bundle.adopted", item, None, ADOPTED),)))
    if model.last_good:
        try:
            bundle = desk.store.get(model.last_good)
            desk.residents.add(bundle, desk.residents.load(bundle))
        except KedgeError as error:
            log.warning(
                "the last good bundle is not warm: there is nothing to roll back to at once",
                extra={"data": {"model": model.name, "bundle": model.last_good[:12], "reason": str(error)}},
            )
            desk.books = desk.books.having(replace(model, last_good=""), ())
    return adopted


def _put_right(desk: Desk, model: Model, rollout: Rollout, *, unclean: bool) -> None:
    item = desk.books.bundles[rollout.bundle]
    cause = Event.CRASHED if unclean else Event.RESTARTED
    (target,) = states.targets(item.state, cause)
    if target is State.PAUSED:
        words = "the server restarted: all traffic is on the live bundle, and the candidate waits for 'resume'"
        held = rollout.held if item.state is State.PAUSED else item.state
        after = replace(rollout, held=held, withdrawn=True, paused_by=rollout.paused_by, decision=words)
    elif target is State.QUARANTINED:
        words = f"the server ended uncleanly while it was {item.state}: it may be the cause"
        after = replace(rollout, ended=True, held=None, decision=words)
    else:
        words = f"the server {'ended uncleanly' if unclean else 'restarted'} while it was {item.state}"
        after = replace(rollout, ended=target not in UNDER_WAY, held=None, decision=words)
    action = {State.PAUSED: "rollout.paused", State.QUARANTINED: "bundle.quarantined"}.get(target, "rollout.aborted")
    step = Step(action, desk.moved(item, cause, target, words), item.state, words)
    desk.found(Change(replace(model, rollout=after), (step,)))
    if target is not State.ABORTED:
        desk.tell(Notice("quarantined" if target is State.QUARANTINED else "held", desk.books.bundles[item.id], words))


def _warm(desk: Desk, model: Model, rollout: Rollout) -> None:
    """Load a paused candidate, so that `resume` is at once; one that does not load is set aside."""
    try:
        bundle = desk.store.get(rollout.bundle)
        desk.residents.add(bundle, desk.residents.load(bundle))
    except KedgeError as error:
        item = desk.books.bundles[rollout.bundle]
        words = f"it does not load any more: {error}"
        aside = desk.moved(item, states.Command.ABORT, State.ABORTED, words)
        over = moves.ended(desk, replace(rollout, decision=words))
        desk.found(Change(replace(model, rollout=over), (Step("rollout.aborted", aside, item.state, words),)))
