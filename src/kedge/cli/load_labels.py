"""Labels that `kedge load` reports of what was predicted, while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.client import Client, Reported
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reporting:
    """Reports labels, and counts what became of them.

    Args:
        client: of the data port.
        labels: of each message; None where it has none.

    Raises:
        ConfigError: a label is neither text nor a number.
    """

    def __init__(self, client: Client, labels: Sequence[Any]) -> None:
        for label in labels:
            if label is not None and not isinstance(label, str | int | float):
                raise ConfigError(f"--outcomes: '{label}' is neither text nor a number")
        self._client = client
        self._labels = labels
        self._total = Reported()
        self._reported = 0

    def report(self, pairs: Sequence[tuple[str, int]]) -> None:
        """Take pairs of prediction id and message. Raises what `Client.report` raises."""
        known = [(text, label) for text, at in pairs if (label := self._labels[at]) is not None]
        if known:
            self._total += self._client.report(known)
            self._reported += len(known)

    def payload(self) -> dict[str, int]:
        """Counts: reported, and what the server made of them."""
        return {"reported": self._reported, **vars(self._total)}

    def text(self) -> str:
        """The same for a person."""
        refused = self._reported - self._total.accepted - self._total.late
        taken = f"{self._total.accepted:,} accepted, {self._total.late:,} late"
        return f"labels: {self._reported:,} reported, {taken}, {refused:,} refused"
