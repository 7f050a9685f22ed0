"""What cold answers are made of; the composition root supplies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.bundle.contents import Bundle
    from kedge.plane.contract import RouteTable


class Facts(Protocol):
    """The state of the server, as the thread of cold calls sees it. Every method is thread-safe and does not block."""

    def table(self) -> RouteTable:
        """The route table in force."""

    def ready(self) -> bool:
        """False from the moment draining begins."""

    def bundle(self, bundle_id: str) -> Bundle:
        """A bundle of the table in force."""

    def stored(self) -> Sequence[Bundle]:
        """Every bundle in the store."""

    def snapshot(self) -> bytes:
        """The plane's counts, as `kedge.plane.cells` encodes them."""
