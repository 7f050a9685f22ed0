"""The table of states: every pair of state and command, and what a person reads where one does not fit."""

from __future__ import annotations

import pytest

from kedge.errors import Code
from kedge.rollout.states import (
    TRANSITIONS,
    UNDER_WAY,
    WITH_TRAFFIC,
    Command,
    Event,
    IllegalCommandError,
    IllegalTransitionError,
    State,
    check,
    legal,
    move,
    targets,
)

LEGAL = {
    State.RECEIVED: "abort",
    State.VERIFIED: "abort",
    State.WARM: "abort",
    State.SHADOW: "promote pause abort rollback",
    State.CANARY: "promote pause abort rollback",
    State.BAKING: "promote pause abort rollback",
    State.LIVE: "rollback",
    State.PAUSED: "promote resume abort rollback",
    State.ROLLING_BACK: "",
    State.ROLLED_BACK: "",
    State.QUARANTINED: "clear_quarantine",
    State.SUPERSEDED: "deploy",
    State.ABORTED: "deploy",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", Command)
def test_every_command_in_every_state_is_allowed_or_refused_with_what_is_legal(state: State, command: Command) -> None:
    if command in LEGAL[state].split():
        check(state, command)
        return
    with pytest.raises(IllegalCommandError) as caught:
        check(state, command, "flights 2.0.0")
    message = str(caught.value)
    asked = command.replace("clear_quarantine", "quarantine clear")  # as it is typed
    assert message.startswith(f"flights 2.0.0 is {state}, where '{asked}' does not fit; legal now: ")
    fits = ", ".join(LEGAL[state].split()).replace("clear_quarantine", "quarantine clear")
    assert message.endswith(fits or "none; it changes by itself")
    assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize("state", State)
def test_legal_lists_what_check_allows(state: State) -> None:
    assert " ".join(legal(state)) == LEGAL[state]


def test_no_way_is_listed_twice_and_every_state_can_be_reached() -> None:
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)
    reached = {State.RECEIVED}
    while more := {way.target for way in TRANSITIONS if way.source in reached} - reached:
        reached |= more
    assert reached == set(State)


def test_from_every_state_a_candidate_can_be_taken_from_traffic() -> None:
    for state in WITH_TRAFFIC:
        assert targets(state, Event.FAULT) == (State.ROLLING_BACK,)
        assert targets(state, Command.ROLLBACK) == (State.ROLLING_BACK,)
        assert targets(state, Command.ABORT) == (State.ABORTED,)


def test_a_restart_pauses_what_had_traffic_and_a_crash_quarantines_what_was_loaded() -> None:
    for state in WITH_TRAFFIC:
        assert targets(state, Event.RESTARTED) == (State.PAUSED,)
    for state in WITH_TRAFFIC | {State.VERIFIED, State.WARM}:
        assert targets(state, Event.CRASHED) == (State.QUARANTINED,)
    assert targets(State.LIVE, Event.CRASHED) == (State.LIVE,)


def test_after_a_restart_nothing_is_left_half_way() -> None:
    for event in (Event.RESTARTED, Event.CRASHED):
        for state in UNDER_WAY:
            (after,) = targets(state, event)
            assert after not in {State.RECEIVED, State.VERIFIED, State.WARM, State.ROLLING_BACK}


def test_a_rolled_back_bundle_is_deployed_again_only_after_a_person_cleared_it() -> None:
    assert {way.target for way in TRANSITIONS if way.source is State.ROLLED_BACK} == {State.QUARANTINED}
    assert [way.cause for way in TRANSITIONS if way.source is State.QUARANTINED] == [Command.CLEAR_QUARANTINE]


def test_a_way_that_is_not_in_the_table_is_a_fault_of_the_server() -> None:
    assert move(State.CANARY, Event.ADVANCED, State.CANARY).target is State.CANARY
    with pytest.raises(IllegalTransitionError, match="no way from BAKING to CANARY by 'advanced'"):
        move(State.BAKING, Event.ADVANCED, State.CANARY)
