"""A start: what was live serves again, at 100 %; what was under way waits for a person, or is not trusted any more."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kedge.audit.errors import AuditError
from kedge.audit.gate import BundleRefusedError
from kedge.audit.record import SYSTEM, Actor
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
    from kedge.rollout.standing import Standing

ADOPTED: Final = "live since before states of bundles were kept"

log = logging.getLogger(__name__)


def restore(desk: Desk, process: int) -> tuple[str, ...]:
    """See `Rollouts.restore`. Where nothing can be recorded, what is live serves all the same."""
    refused: list[BundleRefusedError] = []
    unclean = desk.ledger.unclean()
    aside = [item for _, item in sorted(desk.books.bundles.items()) if item.state is State.QUARANTINED]
    stood = [change for standing in desk.ledger.standing.read() for change in _stood(desk, standing)]
    _begin_epochs(desk, unclean=unclean)
    _doubt(desk, unclean=unclean)
    adopted = [change for _, model in sorted(desk.books.models.items()) for change in _load(desk, model, refused)]
    if refused and not any(model.live in desk.residents.handles for model in desk.books.models.values()):
        raise refused[0]
    for change in stood:
        model = desk.books.models[change.model.name]
        desk.found(replace(change, model=replace(model, rollout=change.model.rollout)))
        desk.tell(Notice("rolled back", desk.books.bundles[change.steps[0].bundle.id], change.steps[0].words))
    for change in adopted:
        desk.found(change)
    for _, model in sorted(desk.books.models.items()):
        if model.under_way is not None:
            _put_right(desk, model, model.under_way, unclean=unclean)
    try:
        # Not before what an unclean end left is put right: a start that fails here must find the same again.
        epochs = {name: model.epoch for name, model in desk.books.models.items()}
        desk.ledger.began(process, desk.clock(), epochs)
    except AuditError as error:
        log.error(  # noqa: TRY400 - the reason says it all
            "this start is not recorded, and nothing can be changed for now", extra={"data": {"reason": str(error)}}
        )
    desk.in_force()
    desk.publish(desk.table)
    for _, model in sorted(desk.books.models.items()):
        if model.under_way is not None:
            _warm(desk, model, model.under_way)
    for item in aside:  # its page may have found no room on the disk; where somebody was paged, nobody is again
        desk.tell(Notice("quarantined", item, item.reason))
    return tuple(map(str, refused))


def _stood(desk: Desk, standing: Standing) -> list[Change]:
    """Rollbacks of a live bundle that were in force and not recorded when the server died. What they made live is live
    from here on; returns what is to be recorded, once that is loaded.
    """
    model = desk.books.models.get(standing.model)
    if model is None or standing.epoch <= model.epoch:  # recorded
        return []
    steps: tuple[Step, ...] = ()
    by = Actor(name=standing.by[0], authenticated_by=standing.by[1]) if standing.by[0] else SYSTEM
    bundles = dict(desk.books.bundles)
    for old, new in standing.back:
        if model.live != old or old not in bundles or new not in bundles:
            continue
        words = f"{standing.words} (in force when the server ended, recorded now)"
        gone = moves.condemned(desk, bundles[old], Event.FAULT, words, by=by)
        steps += gone
        if not states.targets(bundles[new].state, Event.RESTORED):  # it was being prepared for a trial again
            reason = "the bundle it was to be compared with was rolled back"
            aside = desk.moved(bundles[new], states.Command.ABORT, State.ABORTED, reason)
            steps += (Step("rollout.aborted", aside, bundles[new].state, reason, by),)
            bundles[new] = aside
            if model.under_way is not None and model.under_way.bundle == new:
                model = replace(model, rollout=replace(model.under_way, ended=True, held=None, decision=words))
        reason = f"{bundles[old]} was rolled back"
        back = desk.moved(bundles[new], Event.RESTORED, State.LIVE, reason)
        steps += (Step("bundle.restored", back, bundles[new].state, reason, by),)
        bundles |= {old: gone[-1].bundle, new: back}
        model = replace(model, live=new, last_good="", since=desk.clock())
    model = replace(model, epoch=standing.epoch)
    desk.stood(standing)
    desk.books = desk.books.having(model, ())
    return [Change(model, steps)] if steps else []


def _begin_epochs(desk: Desk, *, unclean: bool) -> None:
    """No epoch may stand for two contents: predictions bear it, and labels that come later are told apart by it.

    A candidate that was in traffic is not any more. After an unclean end there may also have been a route in force that
    the database never took.
    """
    for model in tuple(desk.books.models.values()):
        step = 2 if unclean else int(model.under_way is not None)
        desk.books = desk.books.having(replace(model, epoch=model.epoch + step), ())


def _doubt(desk: Desk, *, unclean: bool) -> None:
    """A last good bundle that was on trial again when the server died, or failed it, is not gone back to."""
    for model in tuple(desk.books.models.values()):
        item = desk.books.bundles.get(model.last_good)
        if item is None:
            continue
        crashed = unclean and states.targets(item.state, Event.CRASHED) == (State.QUARANTINED,)
        if crashed or item.state is State.QUARANTINED:
            desk.books = desk.books.having(replace(model, last_good=""), ())


def _load(desk: Desk, model: Model, refused: list[BundleRefusedError]) -> list[Change]:
    """The live bundle must load; the last good one should. Returns what is to be recorded of it.

    One that the signing policy refuses is not served, which is no reason for other models not to be.
    """
    adopted = []
    if model.live:
        try:
            bundle = desk.store.get(model.live)
        except KedgeError as error:
            raise StateError(f"bundle {model.live[:12]} is live for '{model.name}' but unusable: {error}") from error
        try:
            desk.residents.add(bundle, desk.residents.load(bundle))
        except BundleRefusedError as error:
            refused.append(
                BundleRefusedError(
                    f"{bundle.name} {bundle.version} is live and not served: {error}. Have its archive signed by a key "
                    "in force and start with '--bundle ARCHIVE', or let the key last longer in the file of '--policy'; "
                    f"bundle {bundle.id}"
                )
            )
            log.error("a live bundle is not served", extra={"data": {"reason": str(refused[-1])}})  # noqa: TRY400
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
        after = replace(rollout, share=0.0, ended=True, held=None, decision=words)
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
        desk.tell(Notice("went on", aside, words))
