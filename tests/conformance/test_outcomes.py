"""`kedge.v1.Outcomes` on every plane: what is asked, refused and answered, whatever takes the labels in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from kedge_testing.serving import Caller, eventually

from kedge.monitor.outcomes.file import OutcomesError
from kedge.plane.cold import outcomes as calls
from kedge.proto import outcomes as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kedge.plane.contract import DataPlane

METHOD = "/kedge.v1.Outcomes/"


class Taker:
    """Takes everything in, says what the label asks to be told, and fails or waits when told to."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.failure: Exception | None = None
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()
        self.tended = threading.Event()

    def take(self, outcomes: Sequence[pb.Outcome]) -> list[int]:
        self.busy.set()
        assert self.free.wait(30)
        if self.failure is not None:
            raise self.failure
        self.turns.append([outcome.prediction_id for outcome in outcomes])
        return [int(outcome.number) for outcome in outcomes]

    @property
    def taken(self) -> list[str]:
        return [text for turn in self.turns for text in turn]

    def calls(self, plane: DataPlane) -> calls.OutcomeCalls:
        self.thread = calls.OutcomeCalls(plane, self.take, self.tended.set)
        self.thread.start()
        return self.thread


class Reporter:
    def __init__(self, address: str) -> None:
        self.caller = Caller(address)
        self.unary = self.caller.channel.unary_unary(METHOD + "Report")

    def report(self, *ids: str, number: float = pb.ACCEPTED, statuses: bool = False) -> pb.ReportResponse:
        return pb.ReportResponse.FromString(self.unary(message(*ids, number=number, statuses=statuses), timeout=30))

    def refusal(self, payload: bytes) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as refused:
            self.unary(payload, timeout=30)
        return refused.value.code(), refused.value.details()


def message(*ids: str, number: float = pb.ACCEPTED, statuses: bool = False) -> bytes:
    outcomes = [pb.Outcome(prediction_id=text, number=number) for text in ids]
    return pb.ReportRequest(outcomes=outcomes, statuses=statuses).SerializeToString()


@pytest.fixture
def taker() -> Iterator[Taker]:
    one = Taker()
    yield one
    one.free.set()
    one.thread.stop()


@pytest.fixture
def reporter(listen: Callable[..., Any], taker: Taker) -> Iterator[Reporter]:
    one = Reporter(listen(outcomes=taker.calls).address)
    yield one
    one.caller.channel.close()


def test_a_report_is_answered_with_counts_and_statuses(reporter: Reporter, taker: Taker) -> None:
    outcomes = [pb.Outcome(prediction_id=str(status), number=status) for status in (1, 2, 2, 3, 4, 5, 6, 7, 7, 7)]
    request = pb.ReportRequest(outcomes=outcomes, statuses=True)
    answer = pb.ReportResponse.FromString(reporter.unary(request.SerializeToString(), timeout=30))
    assert list(answer.statuses) == [1, 2, 2, 3, 4, 5, 6, 7, 7, 7]
    counts = (answer.accepted, answer.late, answer.duplicate, answer.expired, answer.forged)
    assert (*counts, answer.unknown_bundle, answer.invalid) == (1, 2, 1, 1, 1, 1, 3)
    assert reporter.report("a") == pb.ReportResponse(accepted=1)
    assert reporter.report() == pb.ReportResponse()
    assert taker.turns == [["1", "2", "2", "3", "4", "5", "6", "7", "7", "7"], ["a"]]


def test_what_is_no_report_is_refused(reporter: Reporter, taker: Taker) -> None:
    assert reporter.refusal(b"\xff\xff") == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "these bytes are not the message this method takes",
    )
    code, text = reporter.refusal(message(*("a",) * 10_001))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "10,001 outcomes, the limit is 10,000" in text
    code, text = reporter.refusal(message("a" * (calls.MAX_MESSAGE_BYTES + 1)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the limit is 4,194,304" in text
    assert taker.taken == []


def test_a_stream_is_answered_message_by_message_in_order(reporter: Reporter, taker: Taker) -> None:
    answered = threading.Semaphore(8)

    def requests() -> Iterator[bytes]:
        for number in range(200):
            assert answered.acquire(timeout=30)
            yield message(*(f"{number}-{i}" for i in range(number % 4)))

    totals = []
    for payload in reporter.caller.channel.stream_stream(METHOD + "ReportStream")(requests(), timeout=60):
        totals.append(pb.ReportResponse.FromString(payload).accepted)
        answered.release()
    assert totals == [number % 4 for number in range(200)]
    assert taker.taken == [f"{number}-{i}" for number in range(200) for i in range(number % 4)]


def test_a_bad_message_ends_its_stream_alone(reporter: Reporter) -> None:
    stream = reporter.caller.channel.stream_stream(METHOD + "ReportStream")
    answers = stream(iter([message("a"), b"\xff\xff", message("b")]), timeout=30)
    with pytest.raises(grpc.RpcError) as refused:
        list(answers)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reporter.report("c").accepted == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [(OutcomesError("disk full"), grpc.StatusCode.UNAVAILABLE), (ValueError("secret"), grpc.StatusCode.INTERNAL)],
)
def test_what_cannot_be_taken_is_refused_and_the_next_is_taken(
    reporter: Reporter, taker: Taker, failure: Exception, code: grpc.StatusCode
) -> None:
    taker.failure = failure
    refused, text = reporter.refusal(message("a"))
    assert refused is code
    assert "secret" not in text
    taker.failure = None
    assert reporter.report("a").accepted == 1


def test_while_the_disk_is_slow_everything_else_is_answered_and_too_much_is_refused(
    reporter: Reporter, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_WAITING", 5)
    taker.free.clear()
    first = reporter.unary.future(message("first"), timeout=30)
    assert taker.busy.wait(30)
    waiting = [reporter.unary.future(message(str(i)), timeout=30) for i in range(5)]
    eventually(lambda: len(taker.thread._waiting) == 5)
    assert reporter.refusal(message("too much"))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reporter.caller.raw("ServerMetadata", b"")
    taker.free.set()
    for call in (first, *waiting):
        assert pb.ReportResponse.FromString(call.result()).accepted == 1
    assert [len(turn) for turn in taker.turns] == [1, 5], "what waited was one turn"


def test_a_report_that_was_cancelled_while_it_waited_is_not_taken(reporter: Reporter, taker: Taker) -> None:
    taker.free.clear()
    first = reporter.unary.future(message("first"), timeout=30)
    assert taker.busy.wait(30)
    second = reporter.unary.future(message("second"), timeout=30)
    eventually(lambda: len(taker.thread._waiting) == 1)
    second.cancel()
    eventually(lambda: len(taker.thread._open) == 1)
    taker.free.set()
    assert pb.ReportResponse.FromString(first.result()).accepted == 1
    assert reporter.report("third").accepted == 1
    assert taker.taken == ["first", "third"]


def test_the_thread_tends_by_itself(reporter: Reporter, taker: Taker) -> None:
    assert taker.tended.wait(30)
