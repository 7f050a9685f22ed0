"""ModelStreamInfer: answers in order, errors beside answers, bounded, ended by a deadline or a cancel."""

import queue
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, eventually, outputs, request

from kedge.bundle.manifest import Execution, Serving
from kedge.proto import inference as pb


def plus_rows(count: int, model: str = "slow-rows") -> Iterator[pb.ModelInferRequest]:
    for number in range(count):
        yield request(model, ("x", "FP32", np.full((1, 1), number, np.float32)), identity=str(number))


def test_answers_come_in_the_order_of_the_requests(caller: Caller) -> None:
    replies = list(caller.stream(plus_rows(300), timeout=60))
    assert [reply.infer_response.id for reply in replies] == [str(number) for number in range(300)]
    assert [outputs(reply.infer_response)["y"].item() for reply in replies] == list(range(300))
    assert not any(reply.error_message for reply in replies)


def test_different_models_share_a_stream_and_keep_its_order(caller: Caller) -> None:
    slow, fast = list(plus_rows(20)), list(plus_rows(20, "identity-fp32"))
    both = [message for pair in zip(slow, fast, strict=True) for message in pair]
    replies = list(caller.stream(iter(both), timeout=60))
    assert [reply.infer_response.model_name for reply in replies] == ["slow-rows", "identity-fp32"] * 20


def test_a_bad_request_is_answered_with_its_id_and_the_stream_lives(caller: Caller) -> None:
    good = next(plus_rows(1))
    unknown = request("nope", identity="bad-1")
    wrong = request("slow-rows", ("x", "FP64", np.zeros((1, 1))), identity="bad-2")
    replies = list(caller.stream(iter([good, unknown, wrong, good])))
    assert [reply.infer_response.id for reply in replies] == ["0", "bad-1", "bad-2", "0"]
    assert replies[1].error_message == "unknown model 'nope'"
    assert "Expected FP32, got 'FP64'" in replies[2].error_message
    assert not replies[2].infer_response.outputs


def test_a_stream_without_requests_ends_well(caller: Caller) -> None:
    call = caller.stream(iter([]))
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_requests_are_answered_while_the_stream_is_open(caller: Caller) -> None:
    requests: queue.Queue[pb.ModelInferRequest | None] = queue.Queue()
    call = caller.stream(iter(requests.get, None))
    for number, message in enumerate(plus_rows(5)):
        requests.put(message)
        assert next(call).infer_response.id == str(number)
    requests.put(None)
    assert list(call) == []


def test_a_stream_is_not_read_beyond_64_requests_in_flight(listen) -> None:
    served = listen()
    served.serve(
        bundles.Recipe(models.slow(), "slow", batchable=False, serving=Serving(execution=Execution(mode="pool")))
    )
    caller = Caller(served.address)
    taken: list[int] = []

    def requests() -> Iterator[pb.ModelInferRequest]:
        taken.clear()
        for number in range(400):
            taken.append(number)
            # large, so that buffers on the way hold few of them
            yield request("slow", ("times", "INT64", np.array([3000 if number == 0 else 0])), identity="x" * 60_000)

    for _ in range(10):
        answers: list[object] = []
        call = caller.stream(requests())
        reader = threading.Thread(target=lambda: answers.extend(call))  # noqa: B023 - joined before they change
        reader.start()
        time.sleep(0.15)
        most, seen = len(taken), bool(answers)
        reader.join()
        assert len(answers) == 400
        if not seen:  # else this thread slept until the first had run, and could not see what was taken before
            break
    assert not seen
    assert most < 300


def test_a_deadline_ends_the_stream(caller: Caller) -> None:
    for seconds in (0.2, 1.0, 5.0, 25.0):
        requests: queue.Queue[pb.ModelInferRequest | None] = queue.Queue()
        call = caller.stream(iter(requests.get, None), timeout=seconds)
        requests.put(next(plus_rows(1)))
        answers: list[pb.ModelStreamInferResponse] = []
        with pytest.raises(grpc.RpcError) as caught:
            answers.extend(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        requests.put(None)
        if answers:  # else the machine was too busy to answer before
            break
    assert [answer.infer_response.id for answer in answers] == ["0"]


def test_a_cancelled_stream_leaves_nothing_behind(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow_rows(), "slow-rows", serving=Serving(execution=Execution(mode="pool"))))
    caller = Caller(served.address)
    call = caller.stream(plus_rows(64))
    next(call)
    call.cancel()

    def successes() -> int:
        answer = caller.call("ModelStatistics", pb.ModelStatisticsRequest(), pb.ModelStatisticsResponse)
        return int(answer.model_stats[0].inference_stats.success.count)

    eventually(lambda: successes() >= 1)
    assert served.plane.drain(10.0)


def test_the_final_response_is_marked_where_asked(caller: Caller) -> None:
    message = next(plus_rows(1))
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    (reply,) = caller.stream(iter([message]))
    assert reply.infer_response.parameters["triton_final_response"].bool_param
