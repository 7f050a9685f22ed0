"""What the manager says about models: plain frozen values for admin service, metrics and command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.audit.record import Actor
    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import Reading
    from kedge.rollout.states import Command, State


@dataclass(frozen=True)
class BundleState:
    """Where a bundle stands.

    Attributes:
        id: bundle id, 64 hex digits.
        model, version: names from the bundle.
        state: as `kedge.rollout.states` has it.
        since: when it came to be so, seconds since 1970.
        reason: why, in words.
    """

    id: str
    model: str
    version: str
    state: State
    since: float
    reason: str

    def __str__(self) -> str:
        return f"{self.model} {self.version}"


@dataclass(frozen=True)
class RolloutState:
    """A rollout, under way or the last one.

    Attributes:
        candidate: the bundle that is rolled out.
        control: the bundle it is compared with; None where the model had none.
        plan: that is followed.
        plan_digest: SHA-256 of it, as the audit log names it.
        held: the state that PAUSED holds, or None.
        step: of the canary, from 0.
        steps: of the plan's canary.
        share: of requests the candidate answers now, in [0, 1].
        started, step_started: seconds since 1970.
        units: counted since it started, of candidate and control.
        readings: of every guard, as last read.
        decision: what was decided last and why, in words.
        paused_by: who paused it, or None.
        over: it has ended.
    """

    candidate: BundleState
    control: BundleState | None
    plan: Plan
    plan_digest: str
    held: State | None
    step: int
    steps: int
    share: float
    started: float
    step_started: float
    units: tuple[int, int]
    readings: tuple[Reading, ...]
    decision: str
    paused_by: Actor | None
    over: bool

    @property
    def state(self) -> State:
        """Of the candidate."""
        return self.candidate.state


@dataclass(frozen=True)
class ModelState:
    """Where a model stands.

    Attributes:
        model: its name.
        live: the bundle that answers, but for the share of a canary; None before the first.
        last_good: the one that was live before and is warm; None where there is none.
        epoch: of the route.
        revision: grows with everything that happens to the model; a command can ask that nothing has since.
        since: when `live` became so, seconds since 1970.
        rollout: under way, or the last one; None where there never was one since it is known.
        quarantined: bundles of this model that may not be deployed.
        legal: commands that fit now.
        unrecorded: why a rollback is in force that the audit log does not have yet; empty where it has all.
    """

    model: str
    live: BundleState | None
    last_good: BundleState | None
    epoch: int
    since: float
    rollout: RolloutState | None
    quarantined: tuple[BundleState, ...]
    legal: tuple[Command, ...]
    revision: int = 0
    unrecorded: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened to a model, as it is in the audit log too.

    Attributes:
        number: from 1, growing.
        at: seconds since 1970.
        action: of its audit record, such as ``rollout.advanced``.
        model, bundle, version: which.
        previous, next: state before and after; None for a bundle that was new.
        epoch: of the route after it.
        actor: who.
        words: what and why.
    """

    number: int
    at: float
    action: str
    model: str
    bundle: str
    version: str
    previous: State | None
    next: State | None
    epoch: int
    actor: str
    words: str
