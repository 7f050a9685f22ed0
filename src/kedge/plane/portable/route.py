"""Route: which bundle answers a request, under which arm and epoch it is counted."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, PlaneError, RequestError
from kedge.plane.contract import Arm, Route, RouteTable
from kedge.plane.portable.encode import constant_part
from kedge.plane.siphash import KEY_BYTES, siphash24
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedge.plane.portable.model import Model

_SPACE: Final = 2.0**64
SHARE_TOLERANCE: Final = 1e-9


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
    entries: dict[str, _Entry] = {}
    for route in table.routes:
        if route.model in entries:
            raise PlaneError(f"route table: model {quoted(route.model)} appears twice")
        entries[route.model] = _entry(route, models)
        old = before.entries.get(route.model)
        if old is not None and route != old.route:
            if route.epoch == old.route.epoch:
                raise PlaneError(
                    f"route of model {quoted(route.model)}: epoch {route.epoch} is in force with different content"
                )
            if route.epoch < old.route.epoch:
                raise PlaneError(
                    f"route of model {quoted(route.model)}: epoch {route.epoch} is under {old.route.epoch}, in force"
                )
    return Table(table, entries)


def _entry(route: Route, models: Mapping[int, Model]) -> _Entry:
    where = f"route of model {quoted(route.model)}"
    if route.epoch < 1:
        raise PlaneError(f"{where}: epochs count from 1, got {route.epoch}")
    if route.sticky_for < 1:
        raise PlaneError(f"{where}: sticky_for must be at least one second, got {route.sticky_for}")
    if route.salt and len(route.salt) != KEY_BYTES:
        raise PlaneError(f"{where}: the salt must be empty or {KEY_BYTES} bytes, got {len(route.salt)}")
    if not route.arms:
        raise PlaneError(f"{where}: it has no arms")
    for handle in (*(arm.handle for arm in route.arms), *route.pinned):
        model = models.get(handle.key)
        if model is None or model.handle != handle:
            raise PlaneError(f"{where}: version {quoted(handle.version)} is not loaded, or was retired")
        if handle.model != route.model:
            raise PlaneError(f"{where}: version {quoted(handle.version)} is of model {quoted(handle.model)}")
    for arm in route.arms:
        if arm.arm in (Arm.SHADOW, Arm.PINNED):
            raise PlaneError(f"{where}: the portable plane takes no {arm.arm.name.lower()} arm")
        if not 0.0 <= arm.share <= 1.0:
            raise PlaneError(f"{where}: shares lie in [0, 1], got {arm.share}")
    total = math.fsum(arm.share for arm in route.arms)
    if abs(total - 1.0) > SHARE_TOLERANCE:
        raise PlaneError(f"{where}: shares must sum to 1, got {total}")
    targets = []
    thresholds = []
    reached = 0.0
    for arm in route.arms:
        reached += arm.share
        model = models[arm.handle.key]
        targets.append(Target(model, arm.arm, route.epoch, constant_part(arm.handle, arm.arm)))
        thresholds.append(float(int(reached * _SPACE)))
    versions: dict[str, Target] = {}
    for handle in (*(arm.handle for arm in route.arms), *route.pinned):
        known = versions.get(handle.version)
        if known is not None and known.model.handle != handle:
            raise PlaneError(f"{where}: version {quoted(handle.version)} stands for two bundles")
        pinned = Target(models[handle.key], Arm.PINNED, route.epoch, constant_part(handle, Arm.PINNED))
        versions[handle.version] = pinned
    return _Entry(route, tuple(targets), tuple(thresholds), versions)


def not_found(model: str, version: str) -> RequestError:
    """What a request for a model or version that no route names is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.NOT_FOUND, f"unknown {what}")


def not_ready(model: str, version: str) -> RequestError:
    """What a request for a bundle that is loaded, or loading, and was never routed to is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.UNAVAILABLE, f"{what} is not ready yet")
