"""Messages no honest client sends: each is refused by itself, and the server goes on."""

import struct

import grpc
import numpy as np
import pytest
from kedge_testing.serving import Caller, outputs, request

from kedge.proto import inference as pb

Status = grpc.StatusCode
FOUR = np.ones((1, 4), np.float32)


def good() -> pb.ModelInferRequest:
    return request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR))


@pytest.fixture(autouse=True)
def still_serves(caller: Caller):
    yield
    assert outputs(caller.infer(good()))["sum"].tolist() == [[2.0] * 4]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ServerLive", "ModelMetadata", "ModelStatistics"])
@pytest.mark.parametrize("payload", [b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x07", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_message(caller: Caller, method: str, payload: bytes) -> None:
    if payload == b"\x0a\x02\xff\xfe" and method == "ServerLive":
        pytest.skip("an unknown field of any bytes is legal in a message without fields")
    with pytest.raises(grpc.RpcError) as caught:
        caller.raw(method, payload)
    assert caught.value.code() is Status.INVALID_ARGUMENT


def test_every_truncation_is_answered(caller: Caller) -> None:
    whole = good().SerializeToString()
    for end in range(len(whole)):
        code, _ = caller.refusal(whole[:end])
        assert code in (Status.INVALID_ARGUMENT, Status.NOT_FOUND)


@pytest.mark.parametrize(
    "shape",
    [
        [2**62, 2**62],
        [2**32, 2**32],
        [-1, 4],
        [-(2**63), 4],
        [1] * 1000,
        [2**40, 4],
        [],
    ],
)
@pytest.mark.parametrize("model", ["add", "identity-fp32"])
@pytest.mark.parametrize("form", ["raw", "typed"])
def test_shapes_that_overflow_or_are_negative(caller: Caller, shape: list[int], model: str, form: str) -> None:
    name = "a" if model == "add" else "x"
    message = request(model, (name, "FP32", FOUR), form=form)
    del message.inputs[0].shape[:]
    message.inputs[0].shape.extend(shape)
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    assert f"'{name}'" in text
    assert len(text) < 500


@pytest.mark.parametrize(
    "data",
    [
        b"\x05\0\0\0ab",
        b"\xff\xff\xff\xffab",
        b"\x01\0\0",
        struct.pack("<I", 2) + b"ab",
        (struct.pack("<I", 1) + b"a") * 3,
        b"",
    ],
)
def test_lengths_of_bytes_elements_that_lie(caller: Caller, data: bytes) -> None:
    message = pb.ModelInferRequest(model_name="identity-bytes", raw_input_contents=[data])
    message.inputs.add(name="x", datatype="BYTES", shape=[1, 2])
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    assert "input 'x' for model 'identity-bytes'" in text


@pytest.mark.parametrize(
    ("dtype", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT16", "int_contents", -32769),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 65536),
    ],
)
def test_typed_values_that_do_not_fit_their_type(caller: Caller, dtype: str, field: str, value: int) -> None:
    message = pb.ModelInferRequest(model_name=f"identity-{dtype.lower()}")
    getattr(message.inputs.add(name="x", datatype=dtype, shape=[1, 1]).contents, field).append(value)
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    assert f"Expected {dtype}" in text


@pytest.mark.parametrize("dtype", ["FP16", "BF16"])
def test_types_without_typed_form(caller: Caller, dtype: str) -> None:
    message = pb.ModelInferRequest(model_name=f"identity-{dtype.lower()}")
    message.inputs.add(name="x", datatype=dtype, shape=[1, 1]).contents.fp32_contents.append(1)
    code, text = caller.refusal(message)
    assert code is Status.INVALID_ARGUMENT
    assert "raw_input_contents" in text


def test_a_boolean_that_is_neither(caller: Caller) -> None:
    message = pb.ModelInferRequest(model_name="identity-bool", raw_input_contents=[b"\x02"])
    message.inputs.add(name="x", datatype="BOOL", shape=[1, 1])
    assert caller.refusal(message)[0] is Status.INVALID_ARGUMENT


def test_many_of_everything(caller: Caller) -> None:
    inputs = pb.ModelInferRequest(model_name="add")
    for number in range(5000):
        inputs.inputs.add(name=f"i{number}", datatype="FP32", shape=[1])
    wanted = good()
    for number in range(5000):
        wanted.outputs.add(name=f"o{number}")
    parameters = good()
    for number in range(300):
        parameters.parameters[f"p{number}"].bool_param = True
    long_id = good()
    long_id.id = "x" * 100_000
    rows = request("identity-bool", ("x", "BOOL", np.zeros((2**20 + 1, 1), np.bool_)))
    for message in (inputs, wanted, parameters, long_id, rows):
        code, text = caller.refusal(message)
        assert code is Status.INVALID_ARGUMENT
        assert "at most" in text


def test_names_full_of_control_characters_come_back_clean(caller: Caller) -> None:
    code, text = caller.refusal(request("a\r\nb\0\x1b[31m", ("x", "FP32", FOUR)))
    assert code is Status.NOT_FOUND
    assert text == "unknown model 'a??b??[31m'"


def test_garbage_on_a_stream_is_answered_and_the_stream_lives(caller: Caller) -> None:
    replies = list(caller.stream(iter([b"\xff\xff", good(), b"\x0a\x7f", good()])))
    assert [bool(reply.error_message) for reply in replies] == [True, False, True, False]


def test_a_message_in_gzip_is_read(caller: Caller) -> None:
    answer = caller.infer(good(), compression=grpc.Compression.Gzip)
    assert outputs(answer)["sum"].tolist() == [[2.0] * 4]
