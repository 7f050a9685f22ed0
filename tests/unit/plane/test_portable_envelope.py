"""Envelopes: a request whose envelope is known is read as if it were the first of its kind, or read anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.dtypes import DTYPES
from kedge.errors import RequestError
from kedge.plane.portable import decode
from kedge.plane.portable.envelope import Envelopes
from kedge.plane.portable.signature import Signature, Tensor
from kedge.proto import inference as pb


def signature(*inputs: tuple[str, str, tuple[int, ...]], batchable: bool = True) -> Signature:
    tensors = {
        name: Tensor(name, DTYPES[dtype], shape, place, f"for input '{name}'")
        for place, (name, dtype, shape) in enumerate(inputs)
    }
    return Signature("m", "1", tensors, {"y": Tensor("y", DTYPES["FP32"], (-1,), 0, "")}, batchable, "for model 'm'")


ONE = signature(("x", "FP32", (-1, 2)))
TWO = signature(("x", "FP32", (-1, 2)), ("n", "INT64", (-1,)))


def message(
    *tensors: tuple[str, str, list[int], bytes], model_version: str = "", id_: str = ""
) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="m", model_version=model_version, id=id_)
    for name, dtype, shape, data in tensors:
        request.inputs.add(name=name, datatype=dtype, shape=shape)
        request.raw_input_contents.append(data)
    return request


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def integers(*values: int) -> bytes:
    return np.array(values, "<i8").tobytes()


def read(envelopes: Envelopes, payload: bytes, of: Signature) -> tuple[bool, decode.Tensors]:
    """Was the envelope known, and what was read; always what is read without envelopes."""
    asked = envelopes.read(payload)
    plain = pb.ModelInferRequest.FromString(payload)
    assert (asked.model, asked.version, asked.id) == (plain.model_name, plain.model_version, plain.id)
    found = envelopes.tensors(asked, payload, of, no_ids="")
    expected = decode.tensors(plain, of, no_ids="")
    assert (found.rows, found.shape, found.raw, found.outputs) == (
        expected.rows, expected.shape, expected.raw, expected.outputs
    )  # fmt: skip
    for one, other in zip(found.arrays, expected.arrays, strict=True):
        assert one.dtype == other.dtype
        assert one.flags.aligned
        np.testing.assert_array_equal(one, other)
    return asked.message is None, found


def test_other_data_in_a_known_envelope_is_read_from_its_place() -> None:
    envelopes = Envelopes()
    for round_, values in enumerate([(1, 2), (3, 4), (np.nan, -1)]):
        known, found = read(envelopes, message(("x", "FP32", [1, 2], floats(*values))).SerializeToString(), ONE)
        assert known == (round_ > 0)
        np.testing.assert_array_equal(found.arrays[0], np.array([values], np.float32))


def test_inputs_are_put_in_the_order_of_the_model() -> None:
    envelopes = Envelopes()
    for round_ in range(3):
        x, n = floats(round_, 2), integers(round_)
        payload = message(("n", "INT64", [1], n), ("x", "FP32", [1, 2], x)).SerializeToString()
        known, found = read(envelopes, payload, TWO)
        assert known == (round_ > 0)
        assert found.arrays[0].tolist() == [[round_, 2]]
        assert found.arrays[1].tolist() == [round_]


def test_rows_and_names_make_an_envelope() -> None:
    envelopes = Envelopes()
    payloads = [
        message(("x", "FP32", [1, 2], floats(1, 2))),
        message(("x", "FP32", [2, 2], floats(1, 2, 3, 4))),
        message(("x", "FP32", [1, 2], floats(1, 2)), model_version="1"),
        message(("x", "FP32", [1, 2], floats(1, 2)), model_version="2"),
    ]
    for known in (False, True):
        for payload in payloads:
            assert read(envelopes, payload.SerializeToString(), ONE)[0] == known


def test_a_bundle_with_another_signature_checks_for_itself() -> None:
    envelopes = Envelopes()
    payload = message(("x", "FP32", [1, 2], floats(1, 2))).SerializeToString()
    read(envelopes, payload, ONE)
    asked = envelopes.read(payload)
    assert asked.message is None
    with pytest.raises(RequestError, match="shape mismatch"):
        envelopes.tensors(asked, payload, signature(("x", "FP32", (-1, 3))), no_ids="")
    assert read(envelopes, payload, signature(("x", "FP32", (-1, -1))))[0]


def test_what_has_to_be_looked_at_each_time_is_not_remembered() -> None:
    with_key = message(("x", "FP32", [1, 2], floats(1, 2)))
    with_key.parameters["kedge_key"].string_param = "a"
    with_ids = message(("x", "FP32", [1, 2], floats(1, 2)))
    with_ids.outputs.add(name="kedge.prediction_id")
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    cases = [
        (message(("x", "FP32", [1, 2], floats(1, 2)), id_="7"), ONE),
        (with_key, ONE),
        (with_ids, ONE),
        (typed, ONE),
        (message(("x", "FP32", [0, 2], b"")), ONE),
        (message(("x", "FP32", [40_000, 2], bytes(320_000))), ONE),
        (message(("x", "BOOL", [1, 2], b"\0\1")), signature(("x", "BOOL", (-1, 2)))),
        (message(("x", "BYTES", [1], b"\1\0\0\0a")), signature(("x", "BYTES", (-1,)))),
    ]
    envelopes = Envelopes()
    for request, of in cases * 2:
        assert not read(envelopes, request.SerializeToString(), of)[0]


def test_data_that_does_not_end_the_message_is_not_remembered() -> None:
    head = pb.ModelInferRequest(model_name="m")
    head.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    data = floats(1, 2)
    # an output's name, which follows the data here, that looks like the field of the data
    name = b"\x3a\x08" + b"12345678"
    output = b"\x32" + bytes([len(name) + 2]) + b"\x0a" + bytes([len(name)]) + name
    payload = head.SerializeToString() + b"\x3a\x08" + data + output
    of = Signature("m", "1", ONE.inputs, {name.decode(): Tensor(name.decode(), DTYPES["FP32"], (-1,), 0, "")}, True, "")
    envelopes = Envelopes()
    for _ in range(2):
        assert not read(envelopes, payload, of)[0]


def test_no_more_than_some_are_remembered_and_all_are_forgotten_at_once() -> None:
    envelopes = Envelopes()
    payloads = [message(("x", "FP32", [1, 2], floats(1, 2)), model_version=f"{n}") for n in range(1000)]
    for payload in payloads:
        read(envelopes, payload.SerializeToString(), ONE)
    assert sum(read(envelopes, payload.SerializeToString(), ONE)[0] for payload in reversed(payloads)) <= 256
    assert read(envelopes, payloads[0].SerializeToString(), ONE)[0]
    envelopes.forget()
    assert not read(envelopes, payloads[0].SerializeToString(), ONE)[0]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_changed_anywhere_are_read_as_without_envelopes(data: st.DataObject) -> None:
    envelopes = Envelopes()
    first = message(("x", "FP32", [1, 2], floats(1, 2)), ("n", "INT64", [1], integers(3))).SerializeToString()
    read(envelopes, first, TWO)
    changed = bytearray(first)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(first) - 1))] = data.draw(st.integers(0, 255))
    payload = bytes(changed)
    refusal = refused(Envelopes(), payload)
    assert refused(envelopes, payload) == refusal
    if refusal is None:
        read(envelopes, payload, TWO)


def refused(envelopes: Envelopes, payload: bytes) -> str | None:
    try:
        envelopes.tensors(envelopes.read(payload), payload, TWO, no_ids="")
    except RequestError as error:
        return str(error)
    return None
