"""What every plane asks of a route table before it takes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from kedge.errors import PlaneError
from kedge.kernel.contract import BATCH_SIZE_BUCKETS
from kedge.plane.contract import Arm, Handle, Route, RouteTable
from kedge.plane.siphash import KEY_BYTES
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Collection

SHARE_TOLERANCE: Final = 1e-9


def check(table: RouteTable, loaded: Collection[Handle], before: RouteTable) -> None:
    """Refuse a table that may not follow the one in force.

    Raises:
        PlaneError: as `contract.DataPlane.publish` says.
    """
    old = {route.model: route for route in before.routes}
    seen: set[str] = set()
    for route in table.routes:
        if route.model in seen:
            raise PlaneError(f"route table: model {quoted(route.model)} appears twice")
        seen.add(route.model)
        _check_route(route, loaded)
        known = old.get(route.model)
        if known is None or route == known:
            continue
        if route.epoch == known.epoch:
            raise PlaneError(
                f"route of model {quoted(route.model)}: epoch {route.epoch} is in force with different content"
            )
        if route.epoch < known.epoch:
            raise PlaneError(
                f"route of model {quoted(route.model)}: epoch {route.epoch} is under {known.epoch}, in force"
            )


def handles(route: Route) -> tuple[Handle, ...]:
    """Every bundle the route names."""
    beside = () if route.shadow is None else (route.shadow.handle,)
    return (*(arm.handle for arm in route.arms), *route.pinned, *beside)


def _check_route(route: Route, loaded: Collection[Handle]) -> None:
    where = f"route of model {quoted(route.model)}"
    if route.epoch < 1:
        raise PlaneError(f"{where}: epochs count from 1, got {route.epoch}")
    if route.sticky_for < 1:
        raise PlaneError(f"{where}: sticky_for must be at least one second, got {route.sticky_for}")
    if route.salt and len(route.salt) != KEY_BYTES:
        raise PlaneError(f"{where}: the salt must be empty or {KEY_BYTES} bytes, got {len(route.salt)}")
    if not route.arms:
        raise PlaneError(f"{where}: it has no arms")
    versions: dict[str, Handle] = {}
    for handle in handles(route):
        if handle not in loaded:
            raise PlaneError(f"{where}: version {quoted(handle.version)} is not loaded, or was retired")
        if handle.model != route.model:
            raise PlaneError(f"{where}: version {quoted(handle.version)} is of model {quoted(handle.model)}")
        if versions.setdefault(handle.version, handle) != handle:
            raise PlaneError(f"{where}: version {quoted(handle.version)} stands for two bundles")
    for arm in route.arms:
        if arm.arm in (Arm.SHADOW, Arm.PINNED):
            raise PlaneError(f"{where}: no plane takes a {arm.arm.name.lower()} arm")
        if not 0.0 <= arm.share <= 1.0:
            raise PlaneError(f"{where}: shares lie in [0, 1], got {arm.share}")
    total = math.fsum(arm.share for arm in route.arms)
    if abs(total - 1.0) > SHARE_TOLERANCE:
        raise PlaneError(f"{where}: shares must sum to 1, got {total}")
    _check_comparison(route, where)


def _check_comparison(route: Route, where: str) -> None:
    shadow = route.shadow
    if shadow is not None:
        if any(arm.handle == shadow.handle for arm in route.arms):
            raise PlaneError(f"{where}: version {quoted(shadow.handle.version)} answers, so it cannot be the shadow")
        if not 0.0 < shadow.sample <= 1.0:
            raise PlaneError(f"{where}: the shadow's sample lies in (0, 1], got {shadow.sample}")
    if route.slow_ns and len(route.slow_ns) != BATCH_SIZE_BUCKETS:
        raise PlaneError(f"{where}: slow_ns has {BATCH_SIZE_BUCKETS} entries or none, got {len(route.slow_ns)}")
    if any(not 0 <= limit < 1 << 63 for limit in route.slow_ns):
        raise PlaneError(f"{where}: run times in slow_ns are nanoseconds in [0, 2**63), got {route.slow_ns}")
