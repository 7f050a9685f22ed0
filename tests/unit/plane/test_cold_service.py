"""What clients make the answering thread hold: messages of calls they do not end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.plane.cold import outcomes, service
from kedge.plane.cold.outcomes import REPORT, OutcomeCalls
from kedge.plane.cold.service import ColdService
from kedge.plane.contract import Event

if TYPE_CHECKING:
    from kedge.plane.contract import CallStatus

INDEX = "/inference.GRPCInferenceService/RepositoryIndex"


class Plane:
    """Keeps the status of every answer by call."""

    def __init__(self) -> None:
        self.answers: dict[int, str] = {}

    def reply(self, call: int, _: bytes | None, last: bool, status: CallStatus | None = None) -> None:
        assert last
        self.answers[call] = "OK" if status is None else status.message


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def calls(plane: Plane) -> OutcomeCalls:
    return OutcomeCalls(plane, lambda taken: [0] * len(taken), lambda: None)  # type: ignore[arg-type]


@pytest.fixture
def cold(plane: Plane, calls: OutcomeCalls) -> ColdService:
    return ColdService(plane, None, calls)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [REPORT, INDEX])
def test_what_comes_after_a_refusal_is_not_kept(
    cold: ColdService, calls: OutcomeCalls, plane: Plane, method: str
) -> None:
    cold(1, Event.OPEN, method, {}, b"")
    for _ in range(3):  # the last was on its way when the second was refused, and no end of the call will be told
        cold(1, Event.MESSAGE, method, {}, b"x" * 1000)
    assert plane.answers == {1: "this method takes one message, got more"}
    assert (cold._messages, calls._open, calls._bytes) == ({}, {}, 0)


def test_reports_that_are_never_ended_are_held_up_to_a_bound(
    cold: ColdService, calls: OutcomeCalls, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "MAX_WAITING_BYTES", 3000)
    for call in range(5):
        cold(call, Event.OPEN, REPORT, {}, b"")
        cold(call, Event.MESSAGE, REPORT, {}, b"x" * 1000)
    assert plane.answers == dict.fromkeys((3, 4), "too many reports wait; try again later")
    for call in range(3):
        cold(call, Event.CANCEL, REPORT, {}, b"")
    assert (calls._open, calls._bytes) == ({}, 0)


@pytest.mark.parametrize(
    ("method", "most"), [(REPORT, outcomes.MAX_MESSAGE_BYTES), (INDEX, service.MAX_QUESTION_BYTES)]
)
def test_a_message_that_is_too_large_is_refused_before_the_call_ends(
    cold: ColdService, calls: OutcomeCalls, plane: Plane, method: str, most: int
) -> None:
    cold(1, Event.OPEN, method, {}, b"")
    cold(1, Event.MESSAGE, method, {}, bytes(most + 1))
    assert f"the limit is {most:,}" in plane.answers[1]
    assert (cold._messages, calls._open, calls._bytes) == ({}, {}, 0)
