"""What changes together, and how it is written into the audit log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kedge.alerts.model import printable
from kedge.audit.record import SYSTEM, Draft

if TYPE_CHECKING:
    from kedge.audit.record import Actor, Verdict
    from kedge.rollout.answers import Request
    from kedge.rollout.book import Model
    from kedge.rollout.states import State
    from kedge.rollout.values import BundleState, Event, ModelState

WORDS: Final = 2000
"""Characters of a reason in a record."""
DEPLOYED: Final = "rollout.deployed"
"""Of the step that a rollout begins with."""
DETAILS_BYTES: Final = 48 * 1024
"""Of a record's details; larger ones would not fit, and a rollback must never wait for a record that cannot be."""


@dataclass(frozen=True)
class Step:
    """One record of a change: a bundle goes from a state to another, or something else about it is to be known."""

    action: str
    bundle: BundleState
    previous: State | None
    words: str
    by: Actor = SYSTEM
    verdict: Verdict | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Change:
    """What becomes true together.

    Attributes:
        model: as it is after it; its epoch is set when it is applied.
        steps: at least one; each is a record and an event.
        request: the command that it answers.
    """

    model: Model
    steps: tuple[Step, ...]
    request: Request | None = None

    @property
    def bundles(self) -> tuple[BundleState, ...]:
        """As they are after it."""
        return tuple({step.bundle.id: step.bundle for step in self.steps}.values())


@dataclass(frozen=True)
class Written:
    """A change with everything its transaction holds."""

    change: Change
    events: tuple[Event, ...]
    answer: ModelState


def draft(step: Step, model: Model) -> Draft:
    """The record of a step, in a model as it is after it."""
    rollout = model.rollout
    return Draft(
        action=step.action,
        actor=step.by,
        model=step.bundle.model,
        bundle=step.bundle.id,
        policy=None if rollout is None else rollout.plan.digest(),
        verdict=step.verdict,
        previous_state=step.previous,
        next_state=step.bundle.state,
        epoch=model.epoch,
        rationale=printable(step.words, WORDS),
        details=_fitting(step.details or {}),
    )


def _fitting(details: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(details, sort_keys=True).encode()
    if len(text) <= DETAILS_BYTES:
        return details
    return {"omitted": "too large for a record", "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
