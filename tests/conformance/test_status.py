"""Every row of the status table, shown by a real client."""

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, eventually, only, outputs, request

from kedge.bundle.manifest import Execution, Serving
from kedge.plane.contract import Limits
from kedge.proto import inference as pb

Status = grpc.StatusCode
ROW = ("x", "FP32", np.zeros((1, 1), np.float32))
POOL = Serving(execution=Execution(mode="pool"))
FOUR = np.zeros((1, 4), np.float32)


def slow(times: int) -> pb.ModelInferRequest:
    return request("slow", ("times", "INT64", np.array([times], np.int64)))


@pytest.mark.parametrize(("model", "version"), [("nope", ""), ("add", "9"), ("", ""), ("a/../b", ""), ("x" * 9000, "")])
def test_unknown_models_and_versions_are_not_found(caller: Caller, model: str, version: str) -> None:
    code, text = caller.refusal(request(model, ROW, version=version))
    assert code is Status.NOT_FOUND
    assert len(text) < 400
    with pytest.raises(grpc.RpcError) as caught:
        caller.call("ModelMetadata", pb.ModelMetadataRequest(name=model, version=version), pb.ModelMetadataResponse)
    assert caught.value.code() is Status.NOT_FOUND


def test_ready_of_an_unknown_model_is_false_and_ok(caller: Caller) -> None:
    def ready(name: str, version: str = "") -> bool:
        message = pb.ModelReadyRequest(name=name, version=version)
        return caller.call("ModelReady", message, pb.ModelReadyResponse).ready

    assert ready("add")
    assert ready("add", "1.2.0")
    assert not ready("add", "9")
    assert not ready("nope")
    assert not ready("")


BAD_INPUTS = {
    "missing": (request("add", ("a", "FP32", FOUR)), ["missing input 'b'", "Expected 2 inputs, got 1"]),
    "none": (request("add"), ["missing input 'a'"]),
    "unknown": (
        request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR), ("c", "FP32", FOUR)),
        ["unknown input 'c'", "Expected 'a', 'b'"],
    ),
    "duplicate": (request("add", ("a", "FP32", FOUR), ("a", "FP32", FOUR)), ["duplicate", "input 'a'"]),
    "datatype": (
        request("add", ("a", "FP64", FOUR), ("b", "FP32", FOUR)),
        ["datatype mismatch for input 'a'", "Expected FP32, got 'FP64'"],
    ),
    "shape": (
        request("add", ("a", "FP32", np.zeros((1, 5), np.float32)), ("b", "FP32", FOUR)),
        ["shape mismatch for input 'a'", "Expected [-1, 4], got [1, 5]"],
    ),
    "dimensions": (
        request("add", ("a", "FP32", np.zeros(4, np.float32)), ("b", "FP32", FOUR)),
        ["shape mismatch for input 'a'", "got [4]"],
    ),
    "batch sizes": (
        request("add", ("a", "FP32", np.zeros((2, 4), np.float32)), ("b", "FP32", FOUR)),
        ["batch size mismatch for input 'b'", "Expected 2, got 1"],
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_refused_with_what_was_expected(caller: Caller, case: str) -> None:
    message, words = BAD_INPUTS[case]
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    for word in (*words, "for model 'add'"):
        assert word in text


def test_a_wrong_byte_size_says_so_in_the_customary_words(caller: Caller) -> None:
    message = request("add", ("a", "FP32", np.zeros((8, 4), np.float32)), ("b", "FP32", np.zeros((8, 4), np.float32)))
    message.raw_input_contents[0] = bytes(120)
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    assert text == "input byte size mismatch for input 'a' for model 'add'. Expected 128, got 120"


def test_mixed_contents_are_refused(caller: Caller) -> None:
    both = request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR))
    both.inputs[1].contents.fp32_contents.extend([0] * 4)
    few = request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR))
    del few.raw_input_contents[1]
    wrong_field = request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR), form="typed")
    wrong_field.inputs[0].contents.int_contents.append(1)
    short = request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR), form="typed")
    del short.inputs[0].contents.fp32_contents[3]
    for message, words in (
        (both, "mixed contents for input 'b' for model 'add'"),
        (few, "expected one entry for each of 2 inputs, got 1"),
        (wrong_field, "Expected fp32_contents, got int_contents"),
        (short, "input element count mismatch for input 'a' for model 'add'. Expected 4, got 3"),
    ):
        code, text = caller.refusal(message)
        assert code is Status.INVALID_ARGUMENT
        assert words in text


def test_a_full_queue_is_resource_exhausted(caller: Caller) -> None:
    message = request("short-queue", ROW)
    calls = [caller.future(message) for _ in range(64)]
    codes = [call.code() for call in calls]
    assert set(codes) == {Status.OK, Status.RESOURCE_EXHAUSTED}
    refused = next(call for call in calls if call.code() is Status.RESOURCE_EXHAUSTED)
    assert "queue of model 'short-queue' is full" in refused.details()
    assert caller.infer(message).outputs


def test_a_message_too_large_is_resource_exhausted(listen) -> None:
    served = listen(limits=Limits(max_message_bytes=10_000))
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    caller = Caller(served.address)
    large = ("x", "FP32", np.zeros((5000, 1), np.float32))
    assert caller.refusal(request("plus", large))[0] is Status.RESOURCE_EXHAUSTED
    # and what inflates to more than the limit
    code, _ = caller.refusal(request("plus", large), compression=grpc.Compression.Gzip)
    assert code is Status.RESOURCE_EXHAUSTED
    assert outputs(caller.infer(request("plus", ROW)))["y"].item() == 1.0


def runs(served: Served, model: str) -> int:
    """Runs of a model so far, by the server's own count."""
    caller = Caller(served.address)
    answer = caller.call("ModelStatistics", pb.ModelStatisticsRequest(name=model), pb.ModelStatisticsResponse)
    caller.channel.close()
    return int(answer.model_stats[0].execution_count)


@pytest.mark.parametrize("how", ["grpc deadline", "timeout parameter"])
def test_a_deadline_that_passes_in_the_queue_is_exceeded_and_nothing_runs(listen, how: str) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=POOL))
    caller = Caller(served.address)
    caller.infer(slow(1))
    before = runs(served, "slow")
    blocking = caller.future(slow(4000))
    caller.sent()
    late = slow(1)
    if how == "timeout parameter":
        late.parameters["timeout"].int64_param = 100_000
        code, text = caller.refusal(late)
        assert "deadline" in text
    else:
        code, _ = caller.refusal(late, timeout=0.1)
    assert code is Status.DEADLINE_EXCEEDED
    assert blocking.code() is Status.OK
    caller.infer(slow(1))
    eventually(lambda: runs(served, "slow") >= before + 2)
    assert runs(served, "slow") == before + 2


def test_a_cancelled_request_is_dropped(listen) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.slow(), "slow", batchable=False, serving=POOL))
    caller = Caller(served.address)
    caller.infer(slow(1))
    before = runs(served, "slow")
    blocking = caller.future(slow(8000))
    gone = [caller.future(slow(4000)) for _ in range(5)]
    caller.sent()
    assert not blocking.done()
    for call in gone:
        assert call.cancel()
    assert blocking.code() is Status.OK
    assert {call.code() for call in gone} == {Status.CANCELLED}
    caller.infer(slow(1))
    eventually(lambda: runs(served, "slow") >= before + 2)
    assert runs(served, "slow") == before + 2


def test_a_version_that_is_loaded_and_not_yet_routed_is_unavailable(listen) -> None:
    served = listen()
    one, two = (served.load(bundles.Recipe(models.plus(v), "plus", version=str(v))) for v in (1, 2))
    caller = Caller(served.address)
    assert caller.refusal(request("plus", ROW))[0] is Status.UNAVAILABLE
    served.publish(only(one))
    code, text = caller.refusal(request("plus", ROW, version="2"))
    assert code is Status.UNAVAILABLE
    assert "version '2' of model 'plus' is not ready" in text
    served.publish(only(two, epoch=2))
    assert caller.refusal(request("plus", ROW, version="1"))[0] is Status.NOT_FOUND


def test_unknown_methods_are_unimplemented(caller: Caller) -> None:
    for method in ("/inference.GRPCInferenceService/Nope", "/no.Service/Call", "/nothing"):
        with pytest.raises(grpc.RpcError) as caught:
            caller.channel.unary_unary(method)(b"", timeout=10)
        assert caught.value.code() is Status.UNIMPLEMENTED


def test_a_model_that_fails_is_internal_and_says_nothing_of_the_inside(caller: Caller) -> None:
    code, text = caller.refusal(request("poison", ("i", "INT64", np.array([[99]]))))
    assert code is Status.INTERNAL
    assert text == "model 'poison' version '1' failed on this request"


def test_repository_changes_are_denied_on_this_port(caller: Caller) -> None:
    load = pb.RepositoryModelLoadRequest(model_name="add")
    load.parameters["file:1/model.onnx"].bytes_param = b"x"
    for method, message in (
        ("RepositoryModelLoad", load),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="add")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            caller.call(method, message, pb.RepositoryModelLoadResponse)
        assert caught.value.code() is Status.PERMISSION_DENIED
