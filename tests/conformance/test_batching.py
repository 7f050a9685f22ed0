"""Requests that wait together run together, and never change each other's answers."""

import threading
import time
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import SERVICE, Caller, Served, eventually, only, outputs, request
from onnx import TensorProto as T

from kedge.bundle.manifest import Batching, Execution, Serving
from kedge.proto import inference as pb

POOL = Execution(mode="pool")


def statistics(served: Served, model: str) -> pb.ModelStatistics:
    caller = Caller(served.address)
    answer = caller.call("ModelStatistics", pb.ModelStatisticsRequest(name=model), pb.ModelStatisticsResponse)
    caller.channel.close()
    return answer.model_stats[0]


def runs_together(served: Served, ask: Callable[[], None], requests: int) -> bool:
    """Whether so many requests to "m" became one run; a busy machine may take longer than a batch waits to send all of
    them, but not each time."""
    for turn in range(5):
        before = statistics(served, "m").execution_count
        ask()
        total = requests * (turn + 1)
        eventually(lambda total=total: statistics(served, "m").inference_stats.success.count == total)
        if statistics(served, "m").execution_count == before + 1:
            return True
    return False


def test_requests_that_wait_run_together_and_get_their_own_rows(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow_rows(), "m", serving=Serving(execution=POOL)))
    caller = Caller(served.address)
    sizes = [1, 3, 0, 2, 5, 1, 1, 4] * 8
    starts = np.cumsum([0, *sizes])
    arrays = [np.arange(a, a + n, dtype=np.float32).reshape(-1, 1) for a, n in zip(starts, sizes, strict=False)]
    calls = [caller.future(request("m", ("x", "FP32", array))) for array in arrays]
    for call, array in zip(calls, arrays, strict=True):
        answer = pb.ModelInferResponse.FromString(call.result())
        assert (outputs(answer)["y"] == array).all()
    eventually(lambda: statistics(served, "m").inference_stats.success.count == len(sizes))
    assert statistics(served, "m").execution_count < len(sizes)


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_texts_of_a_batch_go_to_those_who_asked(listen, form: str) -> None:
    served = listen()
    serving = Serving(batching=Batching(max_batch=10, max_queue_delay_us=1_000_000))
    served.serve(bundles.Recipe(models.identity(T.STRING), "m", serving=serving))
    caller = Caller(served.address)
    rows = [[b"yes"], [b"no", b""], [b""], [b"perhaps"], [b"a", b"bc", b"def"], [b"x" * 300, b"last"]]
    arrays = [np.array([[text] for text in texts], object) for texts in rows]

    def ask() -> None:
        calls = [caller.future(request("m", ("x", "BYTES", array), form=form)) for array in arrays]
        for call, array in zip(calls, arrays, strict=True):
            assert outputs(pb.ModelInferResponse.FromString(call.result()))["y"].tolist() == array.tolist()

    assert runs_together(served, ask, len(rows))


def test_a_batch_never_exceeds_max_batch_unless_one_request_does(listen) -> None:
    served = listen()
    serving = Serving(batching=Batching(max_batch=4), execution=POOL)
    served.serve(bundles.Recipe(models.slow_rows(), "m", serving=serving))
    caller = Caller(served.address)
    calls = [caller.future(request("m", ("x", "FP32", np.ones((2, 1), np.float32)))) for _ in range(40)]
    for call in calls:
        call.result()
    eventually(lambda: statistics(served, "m").inference_stats.success.count == 40)
    assert max(batch.batch_size for batch in statistics(served, "m").batch_stats) == 4
    caller.infer(request("m", ("x", "FP32", np.ones((33, 1), np.float32))))
    eventually(lambda: max(batch.batch_size for batch in statistics(served, "m").batch_stats) == 64)


def test_a_model_that_is_not_batchable_runs_one_request_at_a_time(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow_rows(), "m", batchable=False, serving=Serving(execution=POOL)))
    caller = Caller(served.address)
    calls = [caller.future(request("m", ("x", "FP32", np.ones((2, 1), np.float32)))) for _ in range(20)]
    for call in calls:
        call.result()
    eventually(lambda: statistics(served, "m").execution_count == 20)


def test_shapes_that_differ_do_not_share_a_batch(caller: Caller) -> None:
    arrays = [np.full((1, 1 + n % 3), n, np.float32) for n in range(30)]
    calls = [caller.future(request("identity-fp32", ("x", "FP32", array))) for array in arrays]
    for call, array in zip(calls, arrays, strict=True):
        assert (outputs(pb.ModelInferResponse.FromString(call.result()))["y"] == array).all()


def test_only_the_guilty_request_of_a_batch_fails(caller: Caller) -> None:
    indices = [3, 1, 99, 7, 0, -50, 2] * 6
    calls = [caller.future(request("poison", ("i", "INT64", np.array([[index]])))) for index in indices]
    for call, index in zip(calls, indices, strict=True):
        if 0 <= index < 8:
            assert outputs(pb.ModelInferResponse.FromString(call.result()))["y"].item() == index * 10
        else:
            assert call.code() is grpc.StatusCode.INTERNAL


def test_company_is_waited_for_where_the_bundle_says_so(listen) -> None:
    served = listen()
    serving = Serving(batching=Batching(max_batch=8, max_queue_delay_us=1_000_000))
    served.serve(bundles.Recipe(models.plus(1), "m", serving=serving))
    caller = Caller(served.address)
    message = request("m", ("x", "FP32", np.ones((1, 1), np.float32)))

    def ask() -> None:
        for call in [caller.future(message) for _ in range(8)]:
            call.result()

    assert runs_together(served, ask, 8)  # eight rows are a full batch, which waits for nobody


def test_publishing_closes_a_batch_that_waits_for_company(listen) -> None:
    serving = Serving(batching=Batching(max_batch=8, max_queue_delay_us=1_000_000))
    message = request("m", ("x", "FP32", np.zeros((1, 1), np.float32)))
    took = []
    for _ in range(5):  # a busy machine may take half a second for anything, but not each time
        served = listen()
        old = served.load(bundles.Recipe(models.plus(1), "m", version="1", serving=serving))
        new = served.load(bundles.Recipe(models.plus(2), "m", version="2", serving=serving))
        served.publish(only(old))
        caller = Caller(served.address)
        before = time.monotonic()
        first = caller.future(message)
        caller.sent()
        served.publish(only(new, epoch=2))
        answer = pb.ModelInferResponse.FromString(first.result())
        took.append(time.monotonic() - before)
        assert answer.model_version == "1"
        if took[-1] < 0.5:
            break
    assert min(took) < 0.5, "it waited all of its delay"


def test_a_model_slower_than_it_was_at_load_does_not_hold_up_the_server(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False))  # its rows of zeros ran in no time
    caller = Caller(served.address)

    def slow(times: int) -> pb.ModelInferRequest:
        return request("slow", ("times", "INT64", np.array([times], np.int64)))

    for _ in range(4):
        caller.infer(slow(300))
    ended: list[grpc.Future] = []
    long = caller.future(slow(2000))
    live = caller.channel.unary_unary(SERVICE + "ServerLive").future(b"")
    for call in (long, live):
        call.add_done_callback(ended.append)
    assert (live.code(), long.code()) == (grpc.StatusCode.OK, grpc.StatusCode.OK)
    eventually(lambda: len(ended) == 2)
    assert ended == [live, long]


def test_many_threads_get_their_own_answers(caller: Caller) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        for step in range(50):
            value = float(number * 1000 + step)
            x = np.full((1 + step % 4, 4), value, np.float32)
            answer = caller.infer(request("add", ("a", "FP32", x), ("b", "FP32", x), identity=str(value)))
            if answer.id != str(value) or not (outputs(answer)["sum"] == 2 * x).all():
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
