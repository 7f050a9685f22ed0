"""Route: which bundle answers a request, under which arm and epoch it is counted."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, RequestError
from kedge.plane.contract import Arm, Handle, Route, RouteTable
from kedge.plane.portable.encode import constant_part
from kedge.plane.portable.sealer import siphash24
from kedge.plane.portable.shadow import ShadowRoute
from kedge.plane.portable.units import Keyed, Trial, UnitFilter
from kedge.plane.routes import check
from kedge.plane.siphash import KEY_BYTES
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
        trial: how its requests are compared with those of the route's other arms; None for an only arm and for
            versions that are asked by name.
        shadow: who is given its requests too.
    """

    model: Model
    arm: Arm
    epoch: int
    constant: bytes
    trial: Trial | None = None
    shadow: ShadowRoute | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One route, ready to pick from."""

    route: Route
    units: UnitFilter
    arms: tuple[Target, ...]
    thresholds: tuple[float, ...]
    versions: dict[str, Target]


@dataclass(frozen=True, slots=True)
class Table:
    """All routes, ready to pick from. Immutable: publishing replaces it whole."""

    source: RouteTable
    entries: dict[str, _Entry]

    def shadows(self) -> list[ShadowRoute]:
        """The ways from its arms to shadows."""
        return [target.shadow for entry in self.entries.values() for target in entry.arms if target.shadow is not None]

    def needs_key(self, model: str, *, sealing: bool) -> bool:
        """A sticky key makes a difference for this model: to who answers, or to what is sealed."""
        entry = self.entries.get(model)
        return entry is not None and (sealing or len(entry.arms) > 1)

    def pick(
        self, model: str, version: str, key: str | None, clock: Callable[[], float]
    ) -> tuple[Target, Keyed | None] | None:
        """Who answers, and the key's place where a version is not named; None where no route names model and version.

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
            target = entry.versions.get(version)
            return None if target is None else (target, None)
        unit = None if key is None else keyed(entry.route, key, clock())
        if len(entry.arms) == 1:
            return entry.arms[0], unit
        if unit is not None:
            entry.units.enter(unit.period)
        place = random.random() * _SPACE if unit is None else unit.place  # noqa: S311  a draw
        for target, threshold in zip(entry.arms, entry.thresholds, strict=True):
            if place < threshold:
                return target, unit
        return entry.arms[-1], unit


def keyed(route: Route, key: str, now: float) -> Keyed:
    """A key's period, and where it stands in it, in [0, 2**64). See `contract.Route`."""
    period = int(now) // route.sticky_for
    return Keyed(period, siphash24(route.salt or bytes(KEY_BYTES), period.to_bytes(8, "little") + key.encode()))


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
    return Table(table, {route.model: _entry(route, models, before) for route in table.routes})


def _entry(route: Route, models: Mapping[int, Model], before: Table) -> _Entry:
    known = before.entries.get(route.model)
    units = known.units if known is not None and _same_rollout(route, known.route) else UnitFilter()
    trial = Trial(units, route.slow_ns) if len(route.arms) > 1 else None

    def target(handle: Handle, arm: Arm) -> Target:
        model, shadow = models[handle.key], None
        if route.shadow is not None and arm in (Arm.LIVE, Arm.CONTROL):
            shadow = ShadowRoute.of(models[route.shadow.handle.key], route.epoch, route.shadow.sample, model)
        drawn = trial if arm is not Arm.PINNED else None
        return Target(model, arm, route.epoch, constant_part(handle, arm), drawn, shadow)

    reached = itertools.accumulate(arm.share for arm in route.arms)
    return _Entry(
        route,
        units,
        tuple(target(arm.handle, arm.arm) for arm in route.arms),
        tuple(float(int(share * _SPACE)) for share in reached),
        {handle.version: target(handle, Arm.PINNED) for handle in (*(arm.handle for arm in route.arms), *route.pinned)},
    )


def _same_rollout(one: Route, other: Route) -> bool:
    """Do keys stand at the same places: then their units are the same."""
    return (one.salt, one.sticky_for) == (other.salt, other.sticky_for)


def not_found(model: str, version: str) -> RequestError:
    """What a request for a model or version that no route names is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.NOT_FOUND, f"unknown {what}")


def not_ready(model: str, version: str) -> RequestError:
    """What a request for a bundle that is loaded, or loading, and was never routed to is told."""
    what = f"version {quoted(version)} of model {quoted(model)}" if version else f"model {quoted(model)}"
    return RequestError(Code.UNAVAILABLE, f"{what} is not ready yet")
