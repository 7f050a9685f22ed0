"""What somebody should be told at once, whatever else is going on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kedge.rollout.values import BundleState

Kind = Literal["rolled back", "held", "quarantined", "cleared", "went on"]


@dataclass(frozen=True)
class Notice:
    """One piece of news.

    Attributes:
        kind: ``rolled back``: out of traffic, by itself or by a person. ``held``: a rollout waits for a person.
            ``quarantined``: found at a start, after an unclean end. ``cleared``: a person let it be deployed again.
            ``went on``: a rollout is in another stage or over; whatever held it does not any more.
        bundle: which.
        words: why.
    """

    kind: Kind
    bundle: BundleState
    words: str
