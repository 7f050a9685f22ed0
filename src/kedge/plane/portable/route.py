"""Route: which bundle answers a request, under which arm and epoch it is counted."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, RequestError
from kedge.plane.contract import Arm, Handle, Route, RouteTable
from kedge.plane.portable.encode import constant_part
from kedge.plane.routes import check, handles
from kedge.plane.siphash import KEY_BYTES, siphash24
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedge.plane.portable.model import Model

_SPACE: Final = 2.0**64


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Whom a request was picked for. Equal to itself alone.

    Attributes:
        model: who answers.
        arm, epoch: under which it is counted.
        constant: the part of every answer that is equal.
    """

    model: Model
    arm: Arm
    epoch: int
    constant: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """One route, ready to pick from."""

    route: Route
    arms: tuple[Target, ...]
    thresholds: tuple[float, ...]
    versions: dict[str, Target]


@dataclass(frozen=True, slots=True)
class Table:
    """All routes, ready to pick from. Immutable: publishing replaces it whole."""

    source: RouteTable
    entries: dict[str, _Entry]

    def needs_key(self, model: str) -> bool:
        """A sticky key makes a difference for this model."""
        entry = self.entries.get(model)
        return entry is not None and len(entry.arms) > 1

    def pick(self, model: str, version: str, key: str | None, clock: Callable[[], float]) -> Target | None:
        """Who answers; None where no route names this model and version.

        Args:
            model: from the request.
            version: from the request; empty means what the route says.
            key: sticky key, or None for an independent draw.
            clock: seconds since 1970.
        """
        entry = self.entries.get(model)
        if entry is None:
            return None
        if version:
            return entry.versions.get(version)
        if len(entry.arms) == 1:
            return entry.arms[0]
        place = random.random() * _SPACE if key is None else place_of(entry.route, key, clock())  # noqa: S311  a draw
        for target, threshold in zip(entry.arms, entry.thresholds, strict=True):
            if place < threshold:
                return target
        return entry.arms[-1]


def place_of(route: Route, key: str, now: float) -> int:
    """Where a key stands in this period, in [0, 2**64). See `contract.Route`."""
    period = int(now) // route.sticky_for
    return siphash24(route.salt or bytes(KEY_BYTES), period.to_bytes(8, "little") + key.encode())


EMPTY: Final = Table(RouteTable(), {})


def build(table: RouteTable, models: Mapping[int, Model], before: Table) -> Table:
    """A table to pick from.

    Args:
        table: what was published.
        models: loaded ones, by the key of their handle.
        before: the table in force.

    Raises:
        PlaneError: as `contract.DataPlane.publish` says.
    """
    check(table, {model.handle for model in models.values()}, before.source)
    return Table(table, {route.model: _entry(route, models) for route in table.routes})


def _entry(route: Route, models: Mapping[int, Model]) -> _Entry:
    def target(handle: Handle, arm: Arm) -> Target:
        return Target(models[handle.key], arm, route.epoch, constant_part(handle, arm))

    reached = itertools.accumulate(arm.share for arm in route.arms)
    return _Entry(
        route,
        tuple(target(arm.handle, arm.arm) for arm in route.arms),
        tuple(float(int(share * _SPACE)) for share in reached),
        {handle.version: target(handle, Arm.PINNED) for handle in handles(route)},
    )


def not_found(model: str, version: str) -> RequestError:
    """What a request for a model or version that no route names is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.NOT_FOUND, f"unknown {what}")


def not_ready(model: str, version: str) -> RequestError:
    """What a request for a bundle that is loaded, or loading, and was never routed to is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.UNAVAILABLE, f"{what} is not ready yet")
