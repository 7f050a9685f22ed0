"""A webhook that goes away and comes back, and what it was told."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from typing import TYPE_CHECKING

from kedge_testing.receiver import Receiver
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_testing.soak.world import World


class Sink:
    """Listens on one port whenever it is up."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = Receiver()
        self.port = self._receiver.port
        self._bodies: list[dict] = []  # type: ignore[type-arg]

    def down(self) -> None:
        """Nobody listens."""
        if self._receiver is not None:
            self._receiver.close()
            self._bodies += [request.body for request in self._receiver.requests]
            self._receiver = None

    close = down

    def up(self) -> None:
        if self._receiver is None:
            self._receiver = Receiver(port=self.port)

    def rollbacks(self) -> Counter[str]:
        """Rollbacks that were told of, by model and version; an alert told twice under one id counts once."""
        up = [] if self._receiver is None else [request.body for request in self._receiver.requests]
        told = {body["id"]: body for body in (*self._bodies, *up)}
        return Counter(
            f"{body['data']['model']} {body['data']['version']}"
            for body in told.values()
            if body["data"]["cause"] == "rollback" and body["type"].endswith(".firing")
        )

    def check_nothing_waits(self, world: World, path: Path, pages: Counter[str]) -> None:
        """All that was kept while it was away arrives once it is back.

        Args:
            pages: rollbacks that there were; one of this moment may be on its way into the outbox.
        """
        self.up()
        end = time.monotonic() + 2 * PATIENCE
        while self.rollbacks() != pages and time.monotonic() < end:
            time.sleep(0.2)
        while waiting := _waiting(path):
            if time.monotonic() > end:
                world.wrong("sink", "an empty outbox", f"{waiting} messages that wait")
                return
            time.sleep(0.2)


def _waiting(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE)
    try:
        (count,) = connection.execute("SELECT count(*) FROM alert_outbox").fetchone()
    finally:
        connection.close()
    return int(count)
