"""Tensors in both forms, every element type, at every edge the protocol allows."""

import grpc
import numpy as np
import pytest
from kedge_testing import bundles
from kedge_testing.serving import Caller, Served, encode_raw, outputs, request

from kedge.dtypes import DTYPES
from kedge.proto import inference as pb

SAMPLES = {
    "BOOL": [True, False, True, True],
    "INT8": [-128, 127, 0, -1],
    "INT16": [-32768, 32767, 0, -1],
    "INT32": [-(2**31), 2**31 - 1, 0, -1],
    "INT64": [-(2**63), 2**63 - 1, 0, -1],
    "UINT8": [0, 255, 1, 128],
    "UINT16": [0, 65535, 1, 128],
    "UINT32": [0, 2**32 - 1, 1, 128],
    "UINT64": [0, 2**64 - 1, 1, 2**63],
    "FP16": [0.5, -65504.0, np.inf, np.nan],
    "FP32": [0.1, -3.4e38, np.inf, np.nan],
    "FP64": [0.1, -1.7e308, -np.inf, np.nan],
}
TYPED = [name for name, dtype in DTYPES.items() if dtype.contents is not None]


def sample(dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return bundles.bits_of(np.array([[0.5, -2.0], [1e30, 0.0]], np.float32))
    if dtype == "BYTES":
        array = np.empty(4, dtype=object)
        array[:] = [b"", b"a\0b\0", "grüße".encode(), b"x" * 1000]
        return array.reshape(2, 2)
    return np.array(SAMPLES[dtype], dtype=DTYPES[dtype].numpy).reshape(2, 2)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    if object in (a.dtype, b.dtype):
        return a.shape == b.shape and a.ravel().tolist() == b.ravel().tolist()
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_raw_in_gives_raw_out(caller: Caller, dtype: str) -> None:
    array = sample(dtype)
    answer = caller.infer(request(f"identity-{dtype.lower()}", ("x", dtype, array)))
    assert not answer.outputs[0].HasField("contents")
    assert answer.outputs[0].datatype == dtype
    assert same(outputs(answer)["y"], array)


@pytest.mark.parametrize("dtype", TYPED)
def test_typed_in_gives_typed_out(caller: Caller, dtype: str) -> None:
    array = sample(dtype)
    answer = caller.infer(request(f"identity-{dtype.lower()}", ("x", dtype, array), form="typed"))
    assert not answer.raw_output_contents
    assert same(outputs(answer)["y"], array)


@pytest.mark.parametrize("form", ["raw", "typed"])
@pytest.mark.parametrize("dtype", TYPED)
def test_no_rows_give_no_rows(caller: Caller, dtype: str, form: str) -> None:
    empty = np.empty((0, 3), DTYPES[dtype].numpy)
    answer = caller.infer(request(f"identity-{dtype.lower()}", ("x", dtype, empty), form=form))
    assert list(answer.outputs[0].shape) == [0, 3]
    assert outputs(answer)["y"].size == 0


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_rows_of_no_columns(caller: Caller, form: str) -> None:
    answer = caller.infer(request("identity-fp32", ("x", "FP32", np.empty((3, 0), np.float32)), form=form))
    assert list(answer.outputs[0].shape) == [3, 0]


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_bytes_that_are_no_text(served: Served, caller: Caller, form: str) -> None:
    array = np.array([[b"\xff\xfe", b"ok"]], dtype=object)
    message = request("identity-bytes", ("x", "BYTES", array), form=form)
    if served.plane.name == "portable":  # ONNX Runtime's Python API takes and gives text only
        code, text = caller.refusal(message)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "not UTF-8" in text
    else:
        assert outputs(caller.infer(message))["y"].tolist() == array.tolist()


def unpacked(message: pb.ModelInferRequest, values: list[float]) -> bytes:
    """The message's bytes with fp32_contents written one tagged value at a time, as proto2 encoders do."""
    contents = b"".join(b"\x35" + np.float32(value).tobytes() for value in values)
    tensor = message.inputs[0]
    tensor.ClearField("contents")
    body = tensor.SerializeToString() + b"\x2a" + bytes([len(contents)]) + contents
    rest = pb.ModelInferRequest(model_name=message.model_name).SerializeToString()
    return rest + b"\x2a" + bytes([len(body)]) + body


def test_unpacked_repeated_fields_are_read(caller: Caller) -> None:
    message = request("identity-fp32", ("x", "FP32", np.zeros((2, 2), np.float32)), form="typed")
    answer = pb.ModelInferResponse.FromString(caller.raw("ModelInfer", unpacked(message, [1.0, 2.0, 3.0, 4.0])))
    assert outputs(answer)["y"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_an_output_without_typed_form_makes_the_whole_answer_raw(caller: Caller) -> None:
    x = np.array([[1.0, 2.0]], np.float32)
    whole = caller.infer(request("mixed", ("x", "FP32", x), form="typed"))
    assert len(whole.raw_output_contents) == 3
    assert outputs(whole)["half"].tolist() == [[1.0, 2.0]]
    assert outputs(whole)["text"].tolist() == [[b"1", b"2"]]
    part = request("mixed", ("x", "FP32", x), form="typed")
    part.outputs.add(name="y")
    answer = caller.infer(part)
    assert not answer.raw_output_contents
    assert outputs(answer)["y"].tolist() == [[1.0, 2.0]]


def test_inputs_may_come_in_any_order(caller: Caller) -> None:
    a, b = np.full((2, 4), 5, np.float32), np.full((2, 4), 3, np.float32)
    for form in ("raw", "typed"):
        answer = caller.infer(request("add", ("b", "FP32", b), ("a", "FP32", a), form=form))
        assert outputs(answer)["difference"].tolist() == [[2.0] * 4] * 2


def test_extents_that_depend_on_the_data(caller: Caller) -> None:
    answer = caller.infer(request("nonzero", ("x", "FP32", np.array([0, 1, 0, 2, 3], np.float32))))
    assert outputs(answer)["where"].tolist() == [[1, 3, 4]]


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_a_scalar(caller: Caller, form: str) -> None:
    answer = caller.infer(request("scalar", ("x", "FP32", np.array(21, np.float32)), form=form))
    assert list(answer.outputs[0].shape) == []
    assert outputs(answer)["y"].item() == 42.0


def test_more_rows_than_a_batch_run_alone(caller: Caller) -> None:
    x = np.arange(10_000, dtype=np.float32).reshape(-1, 1)
    answer = caller.infer(request("identity-fp32", ("x", "FP32", x)))
    assert (outputs(answer)["y"] == x).all()


def test_a_large_message_goes_both_ways(caller: Caller) -> None:
    x = np.random.default_rng(1).standard_normal((4000, 1000)).astype(np.float32)
    answer = caller.infer(request("identity-fp32", ("x", "FP32", x)))
    assert answer.raw_output_contents[0] == encode_raw("FP32", x)
