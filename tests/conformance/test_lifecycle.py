"""Loading, draining, stopping, and what each refuses."""

import socket
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, eventually, only, outputs, request

from kedge.bundle.manifest import Execution, Serving, TensorSpec
from kedge.errors import ModelLoadError, PlaneError
from kedge.plane.contract import Limits, LoadOptions
from kedge.proto import inference as pb

ZERO = ("x", "FP32", np.zeros((1, 1), np.float32))
POOL = Serving(execution=Execution(mode="pool"))


def slow(times: int) -> pb.ModelInferRequest:
    return request("slow", ("times", "INT64", np.array([times], np.int64)))


def test_draining_finishes_what_is_under_way_and_refuses_the_rest(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=POOL))
    caller = Caller(served.address)
    caller.infer(slow(1))
    running = caller.future(slow(3000))
    stream = caller.stream(iter([slow(1)] * 3))
    assert [bool(reply.error_message) for reply in stream] == [False] * 3
    caller.sent()
    drained: list[bool] = []
    thread = threading.Thread(target=lambda: drained.append(served.plane.drain(30.0)))
    thread.start()
    # What comes before the drain has begun waits for its turn, and is answered.
    eventually(lambda: running.done() or caller.future(slow(1)).code() is grpc.StatusCode.UNAVAILABLE)
    assert running.code() is grpc.StatusCode.OK
    thread.join()
    assert drained == [True]
    assert served.plane.drain(1.0)  # again is no change
    assert caller.refusal(slow(1))[0] is grpc.StatusCode.UNAVAILABLE


def test_during_the_grace_it_serves_but_is_not_ready(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    caller = Caller(served.address)

    def ready() -> bool:
        return caller.call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready

    assert ready()
    thread = threading.Thread(target=lambda: served.plane.drain(60.0, grace=60.0))
    thread.start()
    eventually(lambda: not ready())
    assert outputs(caller.infer(request("plus", ZERO)))["y"].item() == 1.0
    assert not caller.call("ModelReady", pb.ModelReadyRequest(name="plus"), pb.ModelReadyResponse).ready
    served.plane.stop()
    thread.join()


def test_an_open_stream_is_ended_by_a_drain_after_its_answers(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    caller = Caller(served.address)
    gate = threading.Event()

    def requests():
        yield request("plus", ZERO, identity="1")
        gate.wait(20)

    stream = caller.stream(requests())
    assert next(stream).infer_response.id == "1"
    assert served.plane.drain(10.0)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    gate.set()


def test_a_drain_that_runs_out_of_time_says_so(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=POOL))
    caller = Caller(served.address)
    caller.infer(slow(1))
    running = caller.future(slow(8000))
    caller.sent()
    assert not served.plane.drain(0.05)
    assert running.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_stop_cuts_a_drain_short_and_is_idempotent(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    answers: list[bool] = []
    caller = Caller(served.address)
    thread = threading.Thread(target=lambda: answers.append(served.plane.drain(60.0, grace=60.0)))
    thread.start()
    eventually(lambda: not caller.call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready)
    served.plane.stop()
    thread.join(30)
    assert answers == [False]
    served.plane.stop()
    with pytest.raises(PlaneError, match="stopped"):
        served.plane.start("127.0.0.1:0")


def test_a_retire_waits_for_what_is_under_way(listen) -> None:
    served = listen()
    (old,) = served.serve(bundles.Recipe(models.slow(), "slow", version="1", batchable=False, serving=POOL))
    new = served.load(bundles.Recipe(models.slow(), "slow", version="2", batchable=False, serving=POOL))
    caller = Caller(served.address)
    caller.infer(slow(1))
    running = caller.future(slow(4000))
    caller.sent()
    served.publish(only(new, epoch=2))
    with pytest.raises(PlaneError, match="still runs"):
        served.plane.retire(old, 0.01)
    assert served.plane.retire(old, 30.0) >= 0
    assert pb.ModelInferResponse.FromString(running.result()).model_version == "1"


def test_run_answers_off_the_request_path_and_is_not_counted(listen) -> None:
    served = listen()
    (handle,) = served.serve(bundles.Recipe(models.identity(8), "text"))
    array = np.empty((1, 2), dtype=object)
    array[0, :] = [b"a\0b", b""]
    before = served.plane.snapshot()
    assert served.plane.run(handle, {"x": array})["y"].tolist() == [[b"a\0b", b""]]
    assert served.plane.snapshot() == before
    with pytest.raises(PlaneError, match="takes inputs 'x'"):
        served.plane.run(handle, {"z": array})


def wrong_golden() -> bundles.Recipe:
    x = np.ones((1, 1), np.float32)
    rows = bundles.golden_rows({"x": ("FP32", x)}, {"y": ("FP32", x * 3)})
    return bundles.Recipe(models.plus(1), "plus", golden=rows)


def test_golden_rows_are_replayed(listen) -> None:
    served = listen()
    with pytest.raises(ModelLoadError) as caught:
        served.load(wrong_golden())
    assert "golden output 'y'" in str(caught.value)
    directory = bundles.write(wrong_golden(), served.root)
    assert served.plane.load(directory, LoadOptions(golden=False)).model == "plus"


def test_loads_that_fail_say_why_and_change_nothing(listen, tmp_path: Path, monkeypatch) -> None:
    served = listen()
    (handle,) = served.serve(bundles.Recipe(models.plus(1), "plus"))
    odd = Serving(execution=Execution(providers=("NoSuchExecutionProvider",)))
    with pytest.raises(ModelLoadError, match=r"'NoSuchExecutionProvider'; the installed onnxruntime has .*CPU"):
        served.load(bundles.Recipe(models.plus(2), "other", serving=odd))
    with pytest.raises(ModelLoadError, match="cannot load 'nowhere'"):
        served.plane.load(tmp_path / "nowhere", LoadOptions())
    broken = bundles.Recipe(models.plus(2), "broken")
    broken.model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelLoadError) as caught:
        served.load(broken)
    assert "NoSuchOperator" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    real = bundles.specs

    def lying(values: object) -> tuple[TensorSpec, ...]:
        return tuple(spec.model_copy(update={"dtype": "FP64"}) for spec in real(values))

    monkeypatch.setattr(bundles, "specs", lying)
    with pytest.raises(ModelLoadError, match=r"input 'x' is tensor\(float\) in the model, FP64 in the bundle"):
        served.load(bundles.Recipe(models.plus(3), "lying"))
    caller = Caller(served.address)
    assert outputs(caller.infer(request("plus", ZERO)))["y"].item() == 1.0
    assert caller.refusal(request("other", ZERO))[0] is grpc.StatusCode.NOT_FOUND
    served.publish(only(handle, epoch=2))


def test_an_address_in_use_is_refused_and_another_can_be_taken(listen, make_plane, kernel) -> None:
    served = listen()
    plane = make_plane(kernel)
    try:
        with pytest.raises(PlaneError, match="cannot listen on"):
            plane.start(served.address)
        assert plane.start("127.0.0.1:0") != served.address
    finally:
        plane.stop()


@pytest.mark.parametrize("kind", ["unix", "ipv6"])
def test_unix_sockets_and_ipv6(listen, tmp_path: Path, kind: str) -> None:
    if kind == "ipv6" and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    served = listen(address=f"unix:{tmp_path}/s" if kind == "unix" else "[::1]:0")
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    assert outputs(Caller(served.address).infer(request("plus", ZERO)))["y"].item() == 1.0


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_limits_are_set_before_the_start(listen) -> None:
    served = listen()
    with pytest.raises(PlaneError, match="before the plane starts"):
        served.plane.configure(limits=Limits(max_queue=1))
