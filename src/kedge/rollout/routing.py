"""The route table that the books ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.plane.contract import Arm, ArmRoute, Route, RouteTable, Shadow
from kedge.rollout.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.plane.contract import Handle
    from kedge.rollout.book import Books, Model


def table(books: Books, handles: Mapping[str, Handle]) -> RouteTable:
    """Routes of every model that has a live bundle.

    Args:
        books: what is decided.
        handles: of loaded bundles, by id.
    """
    found = (route(model, books, handles) for _, model in sorted(books.models.items()))
    return RouteTable(tuple(item for item in found if item is not None))


def route(model: Model, books: Books, handles: Mapping[str, Handle]) -> Route | None:
    """A model's route; None without a live bundle that is loaded. The last good one can be reached by its version."""
    if model.live not in handles:
        return None
    live = handles[model.live]
    pinned = tuple(handles[one] for one in (model.last_good,) if one in handles)
    plain = Route(model.name, model.epoch, (ArmRoute(live, Arm.LIVE, 1.0),), pinned)
    rollout = model.under_way
    if rollout is None or rollout.withdrawn or rollout.bundle not in handles:
        return plain
    state = books.bundles[rollout.bundle].state
    match rollout.held if state is State.PAUSED else state:
        case State.SHADOW if rollout.plan.shadow is not None:
            return replace(plain, shadow=Shadow(handles[rollout.bundle], rollout.plan.shadow.sample))
        case State.CANARY | State.BAKING:
            arms = (
                ArmRoute(handles[rollout.bundle], Arm.CANARY, rollout.share),
                ArmRoute(live, Arm.CONTROL, 1.0 - rollout.share),
            )
            return Route(
                model.name,
                model.epoch,
                arms,
                tuple(handle for handle in pinned if handle != handles[rollout.bundle]),
                salt=rollout.salt,
                sticky_for=rollout.plan.sticky_for,
                slow_ns=rollout.slow_ns,
            )
    return plain
