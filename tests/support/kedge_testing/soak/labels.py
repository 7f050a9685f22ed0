"""Clients that report what became of predictions: once, again, and of predictions that never were."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.client import Client
from kedge.errors import KedgeError
from kedge_testing.soak.world import PATIENCE, Actor

if TYPE_CHECKING:
    from kedge_testing.soak.ledger import Ledger
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

BATCH: Final = 40


class Reporter(Actor):
    """Reports labels. What was not answered for is reported again until it is: then every label is known to be taken.

    Attributes:
        taken: labels that were acknowledged, by model: each counts once, whatever happens to the server.
        doubtful: reported, not yet answered for.
    """

    def __init__(self, world: World, ledger: Ledger, pause: float) -> None:
        super().__init__(world, "reporter", pause)
        self.ledger = ledger
        self.taken: Counter[str] = Counter()
        self.doubtful: list[tuple[str, Any, str]] = []
        self._known: list[tuple[str, Any]] = []
        self._chance = np.random.default_rng([world.seed, 8000])

    def connect(self, life: Life) -> Client:
        return Client(life.grpc, timeout=PATIENCE, credentials=life.credentials)

    def turn(self, life: Life, connection: Client) -> None:
        again = bool(self.doubtful)
        batch = self.doubtful or [*self.ledger.take_labels(BATCH)]
        if batch:
            self.doubtful = batch
            got = self._report(life, connection, [(one, label) for one, label, _ in batch])
            if got is None:
                return
            # What a server took before it was killed is a duplicate now.
            taken = got["accepted"] + (got["duplicate"] if again else 0)
            if taken != len(batch):
                self.world.wrong(self.name, f"{len(batch)} labels accepted", f"{dict(got)}, again: {again}")
            self.doubtful = []
            self.taken.update(model for _, _, model in batch)
            self._known = [*self._known, *((one, label) for one, label, _ in batch)][-5000:]
        if self._known and self._chance.random() < 0.3:
            self._others(life, connection)

    def _others(self, life: Life, connection: Client) -> None:
        picked = [self._known[place] for place in self._chance.integers(0, len(self._known), 5)]
        # An id is URL-safe base64; the one letter of it that is changed lies within what is sealed.
        forged = [(one[:12] + ("A" if one[12] != "A" else "B") + one[13:], label) for one, label in picked]
        for labels, status in ((picked, "duplicate"), (forged, "forged")):
            got = self._report(life, connection, labels)
            if got is not None and got[status] != len(labels):
                self.world.wrong(self.name, f"{len(labels)} labels {status}", dict(got))

    def _report(self, life: Life, connection: Client, labels: list[tuple[str, Any]]) -> Counter[str] | None:
        """What became of them; None where the server could not say."""
        try:
            found = connection.report(labels)
        except KedgeError as error:
            if not life.ending and not self.world.full:
                self.world.wrong(self.name, "labels to be taken", f"{error.code.name}: {error}")
            self.world.add("reports without an answer")
            return None
        self.world.add("labels reported", len(labels))
        return Counter({name: count for name, count in vars(found).items() if count})
