"""A route table as `kedge._dataplane.Plane.publish` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.plane.contract import RouteTable


def settings(table: RouteTable) -> list[dict[str, Any]]:
    """The table as the extension takes it."""
    return [
        {
            "model": route.model,
            "epoch": route.epoch,
            "arms": [(arm.handle.key, int(arm.arm), arm.share) for arm in route.arms],
            "pinned": [handle.key for handle in route.pinned],
            "salt": route.salt,
            "sticky_for": route.sticky_for,
            "shadow": None if route.shadow is None else (route.shadow.handle.key, route.shadow.sample),
            "slow_ns": route.slow_ns,
        }
        for route in table.routes
    ]
