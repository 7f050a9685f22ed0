"""The states of a bundle on its way to clients and back, and every way from one to another: one table.

A candidate goes RECEIVED, VERIFIED, WARM, then as its plan says SHADOW, CANARY, BAKING, LIVE. The table knows no
plan: it holds what is possible, `kedge.rollout.decide` says what is right, the manager does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kedge.errors import Code, KedgeError


class State(StrEnum):
    """Where a bundle stands.

    RECEIVED: in the store, nothing known of it. VERIFIED: signature and policy checked. WARM: loaded, golden rows
    replayed, no traffic. SHADOW: given copies of live inputs, answers nobody. CANARY: answers the share of its step.
    BAKING: answers nearly everybody, the previous bundle keeps a share as control. LIVE: answers everybody.
    PAUSED: traffic stays as it was when SHADOW, CANARY or BAKING was paused; guards still act. ROLLING_BACK: being
    taken from traffic. ROLLED_BACK: out of traffic. QUARANTINED: may not be deployed until a person says so.
    SUPERSEDED: was live, a newer one is. ABORTED: set aside, may be deployed again.
    """

    RECEIVED = "RECEIVED"
    VERIFIED = "VERIFIED"
    WARM = "WARM"
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    BAKING = "BAKING"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    QUARANTINED = "QUARANTINED"
    SUPERSEDED = "SUPERSEDED"
    ABORTED = "ABORTED"


class Command(StrEnum):
    """What a person or a program may ask for.

    deploy: start the plan of a stored bundle. promote: go on to the next stage now, and say yes where one is waited
    for. pause, resume: stop going on, and go on. abort: take the candidate from traffic and set it aside. rollback:
    take the bundle from traffic and quarantine it. clear_quarantine: let it be deployed again.
    """

    DEPLOY = "deploy"
    PROMOTE = "promote"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"
    CLEAR_QUARANTINE = "clear_quarantine"


class Event(StrEnum):
    """What the server itself finds or does.

    verified, loaded: checks and loading went well. refused: they did not. started: its first traffic. advanced: the
    next stage. finished: the plan is done. held: a deadline passed, or the evaluator stopped. fault: a guard or a hard
    fault condemned it. withdrawn: its traffic is gone. quarantined: recorded as such. superseded: another bundle is
    live. restored: it is the known-good one again. restarted: the server came back. crashed: it came back after an
    unclean end.
    """

    VERIFIED = "verified"
    LOADED = "loaded"
    REFUSED = "refused"
    STARTED = "started"
    ADVANCED = "advanced"
    FINISHED = "finished"
    HELD = "held"
    FAULT = "fault"
    WITHDRAWN = "withdrawn"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    RESTORED = "restored"
    RESTARTED = "restarted"
    CRASHED = "crashed"


Cause = Command | Event


@dataclass(frozen=True)
class Transition:
    """One way from a state to another."""

    source: State
    cause: Cause
    target: State


class IllegalCommandError(KedgeError):
    """A command does not fit the state its bundle is in."""

    code = Code.FAILED_PRECONDITION


class IllegalTransitionError(KedgeError):
    """The server tried to go a way that the table does not have: a fault of Kedge, not of its user."""

    code = Code.INTERNAL


def _ways(source: State, ways: dict[Cause, tuple[State, ...]]) -> tuple[Transition, ...]:
    return tuple(Transition(source, cause, target) for cause, targets in ways.items() for target in targets)


TRANSITIONS: Final[tuple[Transition, ...]] = (
    *_ways(
        State.RECEIVED,
        {
            Event.VERIFIED: (State.VERIFIED,),
            Event.REFUSED: (State.ABORTED,),
            Command.ABORT: (State.ABORTED,),
            Event.RESTARTED: (State.ABORTED,),
            Event.CRASHED: (State.ABORTED,),
        },
    ),
    *_ways(
        State.VERIFIED,
        {
            Event.LOADED: (State.WARM,),
            Event.REFUSED: (State.ABORTED,),
            Command.ABORT: (State.ABORTED,),
            Event.RESTARTED: (State.ABORTED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.WARM,
        {
            Event.STARTED: (State.SHADOW, State.CANARY, State.BAKING, State.LIVE),
            Command.ABORT: (State.ABORTED,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.RESTARTED: (State.ABORTED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.SHADOW,
        {
            Event.ADVANCED: (State.CANARY, State.BAKING, State.LIVE),
            Command.PROMOTE: (State.CANARY, State.BAKING, State.LIVE),
            Command.PAUSE: (State.PAUSED,),
            Event.HELD: (State.PAUSED,),
            Command.ABORT: (State.ABORTED,),
            Command.ROLLBACK: (State.ROLLING_BACK,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.RESTARTED: (State.PAUSED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.CANARY,
        {
            Event.ADVANCED: (State.CANARY, State.BAKING, State.LIVE),
            Command.PROMOTE: (State.CANARY, State.BAKING, State.LIVE),
            Command.PAUSE: (State.PAUSED,),
            Event.HELD: (State.PAUSED,),
            Command.ABORT: (State.ABORTED,),
            Command.ROLLBACK: (State.ROLLING_BACK,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.RESTARTED: (State.PAUSED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.BAKING,
        {
            Event.FINISHED: (State.LIVE,),
            Command.PROMOTE: (State.LIVE,),
            Command.PAUSE: (State.PAUSED,),
            Event.HELD: (State.PAUSED,),
            Command.ABORT: (State.ABORTED,),
            Command.ROLLBACK: (State.ROLLING_BACK,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.RESTARTED: (State.PAUSED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.PAUSED,
        {
            Command.RESUME: (State.SHADOW, State.CANARY, State.BAKING),
            Command.PROMOTE: (State.CANARY, State.BAKING, State.LIVE),
            Command.ABORT: (State.ABORTED,),
            Command.ROLLBACK: (State.ROLLING_BACK,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.RESTARTED: (State.PAUSED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(
        State.LIVE,
        {
            Command.ROLLBACK: (State.ROLLING_BACK,),
            Event.FAULT: (State.ROLLING_BACK,),
            Event.SUPERSEDED: (State.SUPERSEDED,),
            Event.RESTARTED: (State.LIVE,),
            Event.CRASHED: (State.LIVE,),
        },
    ),
    *_ways(
        State.ROLLING_BACK,
        {
            Event.WITHDRAWN: (State.ROLLED_BACK,),
            Event.RESTARTED: (State.ROLLED_BACK,),
            Event.CRASHED: (State.ROLLED_BACK,),
        },
    ),
    *_ways(
        State.ROLLED_BACK,
        {
            Event.QUARANTINED: (State.QUARANTINED,),
            Event.RESTARTED: (State.QUARANTINED,),
            Event.CRASHED: (State.QUARANTINED,),
        },
    ),
    *_ways(State.QUARANTINED, {Command.CLEAR_QUARANTINE: (State.ABORTED,)}),
    *_ways(State.SUPERSEDED, {Command.DEPLOY: (State.RECEIVED,), Event.RESTORED: (State.LIVE,)}),
    *_ways(State.ABORTED, {Command.DEPLOY: (State.RECEIVED,), Event.RESTORED: (State.LIVE,)}),
)
"""Every way there is. A bundle not listed anywhere is new, and enters at RECEIVED by `deploy`."""

WITH_TRAFFIC: Final = frozenset({State.SHADOW, State.CANARY, State.BAKING, State.PAUSED})
"""A rollout is under way and its candidate is given requests: guards act."""

UNDER_WAY: Final = WITH_TRAFFIC | {State.RECEIVED, State.VERIFIED, State.WARM, State.ROLLING_BACK}
"""A rollout is under way; no other can start for this model."""


def targets(state: State, cause: Cause) -> tuple[State, ...]:
    """Where a cause may lead from a state; empty where it may not happen."""
    return tuple(way.target for way in TRANSITIONS if way.source == state and way.cause is cause)


def legal(state: State) -> tuple[Command, ...]:
    """Commands that fit a state, in the order of `Command`."""
    return tuple(command for command in Command if targets(state, command))


def check(state: State, command: Command, what: str = "the bundle") -> None:
    """Refuse a command that does not fit.

    Args:
        state: where the bundle stands.
        command: what was asked.
        what: how the message names it, such as ``flights 2.0.0``.

    Raises:
        IllegalCommandError: naming the state and what is legal in it.
    """
    if targets(state, command):
        return
    commands = ", ".join(spoken(one) for one in legal(state)) or "none; it changes by itself"
    raise IllegalCommandError(f"{what} is {state}, where '{spoken(command)}' does not fit; legal now: {commands}")


def spoken(command: Command) -> str:
    """A command as people type it after ``kedge``."""
    return "quarantine clear" if command is Command.CLEAR_QUARANTINE else command.value


def move(state: State, cause: Cause, target: State) -> Transition:
    """The way that is taken, for the record.

    Raises:
        IllegalTransitionError: there is no such way.
    """
    if target in targets(state, cause):
        return Transition(state, cause, target)
    raise IllegalTransitionError(f"no way from {state} to {target} by '{cause}'")
