"""Arrays to messages and back."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.client import values
from kedge.dtypes import DTYPES
from kedge.errors import Code, RequestError
from kedge.proto import inference as pb


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "BYTES"])
def test_numbers_come_back_bit_for_bit(dtype: str) -> None:
    random = np.random.default_rng(1)
    array = np.frombuffer(random.bytes(24 * 8), DTYPES[dtype].numpy)[:24].reshape(2, 3, 4)
    if dtype == "BOOL":
        array = random.integers(0, 2, (2, 3, 4)).astype(bool)
    back = values.from_raw("x", values.to_raw(array, dtype), dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    assert back.shape == array.shape


def test_text_holds_nul_nothing_and_any_bytes() -> None:
    array = np.array([["", "é\0x"], [b"\xff", "b"]], dtype=object)
    back = values.from_raw("x", values.to_raw(array, "BYTES"), "BYTES", (2, 2))
    assert back.tolist() == [[b"", "é\0x".encode()], [b"\xff", b"b"]]


def test_big_endian_and_strided_arrays_are_sent_as_they_read() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)[:, ::2]
    message = values.request("m", {"x": array})
    assert message.inputs[0].datatype == "FP32"
    assert list(message.inputs[0].shape) == [2, 2]
    assert np.frombuffer(message.raw_input_contents[0], "<f4").tolist() == [0, 2, 3, 5]


def test_a_request_says_all_it_was_told() -> None:
    message = values.request(
        "m", {"x": np.zeros(2, np.uint16)}, version="2", outputs=("y",), request_id="r", key="k", dtypes={"x": "BF16"}
    )
    assert (message.model_name, message.model_version, message.id) == ("m", "2", "r")
    assert message.inputs[0].datatype == "BF16"
    assert [output.name for output in message.outputs] == ["y"]
    assert message.parameters["kedge_key"].string_param == "k"


def test_a_dtype_without_a_tensor_type_is_refused() -> None:
    with pytest.raises(RequestError, match="complex128") as refused:
        values.request("m", {"x": np.zeros(2, np.complex128)})
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("raw", "dtype", "shape"),
    [(b"123", "FP32", [1]), (b"\1\0\0\0", "BYTES", [1]), (b"\0\0\0\0", "BYTES", [2]), (b"", "XX", [0])],
)
def test_an_answer_that_contradicts_itself_is_refused(raw: bytes, dtype: str, shape: list[int]) -> None:
    answer = pb.ModelInferResponse(raw_output_contents=[raw])
    answer.outputs.add(name="y", datatype=dtype, shape=shape)
    with pytest.raises(RequestError, match="output 'y'"):
        values.result(answer)


def test_an_answer_in_typed_form_is_refused() -> None:
    answer = pb.ModelInferResponse()
    answer.outputs.add(name="y", datatype="FP32", shape=[1])
    with pytest.raises(RequestError, match="raw contents"):
        values.result(answer)


def test_columns_are_those_of_the_parameters() -> None:
    answer = pb.ModelConfigResponse()
    answer.config.parameters["kedge_bundle"].string_value = "ab"
    answer.config.parameters["kedge.columns.x"].string_value = '["a", null]'
    assert values.columns(answer) == {"x": ("a", None)}
    answer.config.parameters["kedge.columns.x"].string_value = "[1]"
    with pytest.raises(RequestError, match=r"'kedge\.columns\.x' is no list of names"):
        values.columns(answer)
    answer.config.parameters["kedge.columns.x"].string_value = "a, b"
    with pytest.raises(RequestError, match=r"'kedge\.columns\.x' is no list of names"):
        values.columns(answer)
