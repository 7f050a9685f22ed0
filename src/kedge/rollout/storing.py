"""What leaves the store: what a person deletes, and what is older than the last few."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.alerts.model import printable
from kedge.audit.record import SYSTEM, Draft
from kedge.rollout import answers
from kedge.rollout.answers import Order
from kedge.rollout.book import Books
from kedge.rollout.change import WORDS
from kedge.rollout.states import IllegalCommandError, State

if TYPE_CHECKING:
    from kedge.rollout.desk import Desk


def delete(desk: Desk, identity: str, order: Order) -> None:
    """See `Rollouts.delete`."""
    desk.refuse_unrecorded()
    entry = next((item for item in desk.store.list() if item.id == identity), None)
    if entry is None and desk.ledger.deleted(order.request("delete", identity)):
        return
    desk.trim()  # what the last command took from traffic is still loaded, and nobody needs it
    role = _role(desk, identity)
    if role:
        raise IllegalCommandError(f"cannot delete bundle {identity[:12]}: it is {role}")
    name = identity if entry is None else entry.name
    _delete(desk, identity, name, order)


def prune(desk: Desk, retain: int) -> tuple[str, ...]:
    """Delete bundles that were live once, but for the newest of each model.

    Args:
        desk: what it acts on.
        retain: how many of a model to keep beside its last good one.

    Returns:
        Ids of what was deleted.

    Raises:
        AuditError: the record was not taken; nothing was deleted.
    """
    if desk.unrecorded:
        return ()
    removed = []
    for name in desk.books.models:
        old = [
            item
            for item in desk.books.bundles.values()
            if item.model == name and item.state is State.SUPERSEDED and not _role(desk, item.id)
        ]
        for item in sorted(old, key=lambda item: item.since, reverse=True)[retain:]:
            reason = f"{retain} newer ones are kept beside the last good one"
            _delete(desk, item.id, name, Order(SYSTEM, reason))
            removed.append(item.id)
    return tuple(removed)


def _delete(desk: Desk, identity: str, model: str, order: Order) -> None:
    """Out of the store and out of the books, but for a quarantine: that would be lifted by an upload otherwise."""
    known = desk.books.bundles.get(identity)
    stays = known is not None and known.state is State.QUARANTINED
    with desk.ledger.transaction() as work:
        work.append(
            Draft(
                action="bundle.deleted",
                actor=order.by,
                model=model,
                bundle=identity,
                rationale=printable(order.reason, WORDS),
            )
        )
        if not stays:
            work.execute("DELETE FROM bundle WHERE id = ?", (identity,))
            work.execute("DELETE FROM rollout WHERE bundle = ? AND ended = 1", (identity,))
        answers.note(work.execute, order.request("delete", identity), desk.clock())
        desk.store.delete(identity)
    if not stays:
        bundles = {key: item for key, item in desk.books.bundles.items() if key != identity}
        models = {
            name: replace(item, rollout=None) if item.rollout is not None and item.rollout.bundle == identity else item
            for name, item in desk.books.models.items()
        }
        desk.books = Books(models, bundles)


def _role(desk: Desk, identity: str) -> str:
    """Why a bundle is needed; empty where it is not."""
    for model in desk.books.models.values():
        if identity == model.live:
            return f"live for '{model.name}'; deploy another or roll back first"
        if identity == model.last_good:
            return f"the last good one of '{model.name}', kept warm; it may go once another bundle is live"
        if model.under_way is not None and identity == model.under_way.bundle:
            return f"being rolled out for '{model.name}'; abort that first"
    return "still loaded, and let go in a moment; try again" if identity in desk.residents.handles else ""
