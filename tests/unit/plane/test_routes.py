"""Route tables: what may not follow what is in force."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kedge.errors import PlaneError
from kedge.kernel.contract import BATCH_SIZE_BUCKETS
from kedge.plane import routes
from kedge.plane.contract import Arm, ArmRoute, Handle, Route, RouteTable, Shadow

ONE = Handle("a" * 64, "m", "1", 1)
TWO = Handle("b" * 64, "m", "2", 2)
STABLE = Route("m", 5, (ArmRoute(ONE, Arm.LIVE, 1.0),))


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (replace(STABLE, epoch=4), "epoch 4 is under 5"),
        (replace(STABLE, arms=(ArmRoute(TWO, Arm.LIVE, 1.0),)), "in force with different content"),
        (replace(STABLE, epoch=0), "count from 1"),
        (replace(STABLE, epoch=6, arms=()), "no arms"),
        (replace(STABLE, epoch=6, arms=(ArmRoute(ONE, Arm.LIVE, 0.5),)), "sum to 1"),
        (replace(STABLE, epoch=6, arms=(ArmRoute(ONE, Arm.LIVE, 1.5), ArmRoute(TWO, Arm.CANARY, -0.5))), "lie in"),
        (replace(STABLE, epoch=6, arms=(ArmRoute(ONE, Arm.PINNED, 1.0),)), "pinned arm"),
        (replace(STABLE, epoch=6, pinned=(replace(TWO, key=9),)), "not loaded"),
        (replace(STABLE, epoch=6, model="other"), "is of model 'm'"),
        (replace(STABLE, epoch=6, salt=b"short"), "salt"),
        (replace(STABLE, epoch=6, sticky_for=0), "sticky_for"),
        (replace(STABLE, epoch=6, shadow=Shadow(ONE)), "answers, so it cannot be the shadow"),
        (replace(STABLE, epoch=6, shadow=Shadow(replace(TWO, key=9))), "not loaded"),
        (replace(STABLE, epoch=6, shadow=Shadow(TWO, 0.0)), "shadow's sample lies in"),
        (replace(STABLE, epoch=6, slow_ns=(1,)), "entries or none, got 1"),
        (replace(STABLE, epoch=6, slow_ns=(-1,) * BATCH_SIZE_BUCKETS), "run times in"),
        (replace(STABLE, epoch=6, slow_ns=(1 << 63,) * BATCH_SIZE_BUCKETS), "run times in"),
    ],
)
def test_a_table_is_refused_with_the_reason(route: Route, why: str) -> None:
    with pytest.raises(PlaneError, match=why):
        routes.check(RouteTable((route,)), {ONE, TWO}, RouteTable((STABLE,)))


def test_the_table_in_force_may_be_published_again_and_followed() -> None:
    canary = (ArmRoute(TWO, Arm.CANARY, 0.1), ArmRoute(ONE, Arm.LIVE, 0.9))
    for route in (STABLE, replace(STABLE, epoch=6, arms=canary, salt=bytes(16))):
        routes.check(RouteTable((route,)), {ONE, TWO}, RouteTable((STABLE,)))


def test_a_model_appears_once() -> None:
    with pytest.raises(PlaneError, match="twice"):
        routes.check(RouteTable((STABLE, STABLE)), {ONE}, RouteTable())


def test_a_version_stands_for_one_bundle() -> None:
    twin = replace(TWO, version="1")
    with pytest.raises(PlaneError, match="two bundles"):
        routes.check(RouteTable((replace(STABLE, pinned=(twin,)),)), {ONE, twin}, RouteTable())
