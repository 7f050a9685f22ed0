"""Who answers a name and version, as cold answers describe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.errors import Code, RequestError
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from kedge.plane.contract import Handle, Route, RouteTable


def handles(route: Route) -> list[Handle]:
    """The bundles a route can reach, each once, those of its arms first."""
    return list(dict.fromkeys((*(arm.handle for arm in route.arms), *route.pinned)))


def find(table: RouteTable, model: str, version: str) -> tuple[Route, Handle]:
    """The route of a model, and the bundle of a version; without one, the arm with the largest share.

    Raises:
        RequestError: NOT_FOUND.
    """
    for route in table.routes:
        if route.model != model:
            continue
        if not version:
            return route, max(route.arms, key=lambda arm: arm.share).handle
        for handle in handles(route):
            if handle.version == version:
                return route, handle
        raise RequestError(Code.NOT_FOUND, f"unknown version {quoted(version)} of model {quoted(model)}")
    raise RequestError(Code.NOT_FOUND, f"unknown model {quoted(model)}")
