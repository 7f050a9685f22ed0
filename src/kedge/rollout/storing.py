"""What leaves the store: what a person deletes, and what is older than the last few."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.alerts.model import printable
from kedge.audit.record import SYSTEM, Draft
from kedge.bundle.store import BundleNotFoundError
from kedge.errors import KedgeError
from kedge.rollout import answers
from kedge.rollout.answers import Order
from kedge.rollout.book import Books
from kedge.rollout.change import WORDS
from kedge.rollout.states import IllegalCommandError, State

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle
    from kedge.rollout.desk import Desk

log = logging.getLogger(__name__)


def delete(desk: Desk, identity: str, order: Order) -> None:
    """See `Rollouts.delete`."""
    desk.refuse_unrecorded()
    if desk.ledger.deleted(order.request("delete", identity)):
        return
    entry = next((item for item in desk.store.list() if item.id == identity), None)
    if entry is None and identity not in desk.store.damaged():
        raise BundleNotFoundError(f"no bundle '{identity[:64]}' in the store")
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
        desk.ledger.leaves(work, identity)
    if not stays:
        bundles = {key: item for key, item in desk.books.bundles.items() if key != identity}
        models = {
            name: replace(item, rollout=None) if item.rollout is not None and item.rollout.bundle == identity else item
            for name, item in desk.books.models.items()
        }
        desk.books = Books(models, bundles)
    _remove(desk, identity)


def expect(desk: Desk, bundle: Bundle) -> None:
    """A bundle is about to come into the store: unless `received` follows, it is removed at the next start.

    Raises:
        AuditError: nothing can be recorded; it must not come in.
    """
    if all(entry.id != bundle.id for entry in desk.store.list()):
        with desk.ledger.transaction() as work:
            desk.ledger.leaves(work, bundle.id)
    desk.coming[bundle.id] += 1


def received(desk: Desk, draft: Draft) -> None:
    """It came in; this is the record of it. Raises `AuditError`."""
    with desk.ledger.transaction() as work:
        work.append(draft)
        desk.ledger.settled(work, draft.bundle or "")
    _arrived(desk, draft.bundle or "")


def withdraw(desk: Desk, identity: str) -> None:
    """See `Rollouts.withdraw`. What somebody else uploaded at the same time, or deployed, is on record by that.

    Where somebody else's upload of it is still to be recorded, it stays for that record, or goes with the last of them.
    """
    _arrived(desk, identity)
    if identity not in desk.coming and identity in desk.ledger.leaving() and identity not in desk.books.bundles:
        _remove(desk, identity)


def _arrived(desk: Desk, identity: str) -> None:
    """One upload of a bundle less."""
    desk.coming[identity] -= 1
    if desk.coming[identity] <= 0:
        del desk.coming[identity]


def sweep(desk: Desk) -> None:
    """At a start: remove the files of bundles that were deleted, or came in without a record, when the server ended.

    One of those that was deployed since is on record by that.
    """
    for identity in desk.ledger.leaving():
        known = desk.books.bundles.get(identity)
        if _role(desk, identity) or (known is not None and known.state is not State.QUARANTINED):
            continue  # it was deployed meanwhile, and is on record by that
        _remove(desk, identity)


def _remove(desk: Desk, identity: str) -> None:
    """After the record is durable: what cannot be removed now is removed at the next start."""
    try:
        with contextlib.suppress(BundleNotFoundError):
            desk.store.delete(identity)
        with desk.ledger.transaction() as work:
            desk.ledger.settled(work, identity)
    except (OSError, KedgeError) as error:
        log.warning("the files of a bundle are still there", extra={"data": {"bundle": identity, "reason": str(error)}})


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
