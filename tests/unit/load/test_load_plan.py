"""Plans, and rows as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.client import Credentials, ModelMetadata, TensorMetadata
from kedge.client.values import from_raw
from kedge.errors import ConfigError
from kedge.load import Plan, Security, messages, order, random_rows
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from pathlib import Path

MODEL = ModelMetadata(
    "m",
    ("1",),
    (
        TensorMetadata("x", "FP32", (-1, 3)),
        TensorMetadata("word", "BYTES", (-1, 1)),
        TensorMetadata("n", "INT8", (-1,)),
    ),
    (TensorMetadata("y", "FP32", (-1,)),),
)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "either a rate"),
        ({"rate": 1, "closed": 1}, "either a rate"),
        ({"rate": -1}, "either a rate"),
        ({"rate": 1e9}, "rate"),
        ({"rate": 1, "duration": 0}, "duration"),
        ({"rate": 1, "duration": 1e9}, "duration"),
        ({"rate": 1, "connections": 0}, "connections"),
        ({"rate": 1, "streams": 10**6}, "streams"),
        ({"rate": 1, "threads": 1000}, "threads"),
        ({"rate": 1, "arrivals": "bursts"}, "arrivals"),
        ({"closed": 100, "connections": 3, "streams": 32}, "100 requests need more streams than 3 connections of 32"),
    ],
)
def test_a_plan_out_of_range_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Plan(**given)


@pytest.mark.parametrize(
    ("deadline", "text"), [(0, ""), (0.05, "50000u"), (1e-9, "1u"), (99.999999, "99999999u"), (3600, "3600000m")]
)
def test_a_deadline_is_a_grpc_timeout_of_at_most_eight_digits(deadline: float, text: str) -> None:
    assert Plan(rate=1, deadline=deadline).timeout == text


def test_rows_become_requests_in_a_shuffled_order_that_can_be_had_again() -> None:
    rows = {
        "x": np.arange(30, dtype=np.float32).reshape(10, 3),
        "word": np.array([[b"a%d" % row] for row in range(10)], dtype=object),
        "n": np.arange(10, dtype=np.int8),
    }
    made = messages(MODEL, rows, rows_per_request=3, version="7", keys=[f"k{row}" for row in range(10)], seed=5)
    assert len(made) == 3  # the tenth row is left over
    for message, place in zip(made, order(3, 5), strict=True):
        request = pb.ModelInferRequest.FromString(message)
        part = slice(3 * place, 3 * place + 3)
        assert (request.model_name, request.model_version, request.id) == ("m", "7", "")
        assert request.parameters["kedge_key"].string_param == f"k{3 * place}"
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            array = from_raw(tensor.name, raw, tensor.datatype, tuple(tensor.shape))
            assert array.tolist() == rows[tensor.name][part].tolist()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 rows are too few for a request of 3"):
        messages(MODEL, random_rows(MODEL, 0, 2), rows_per_request=3)


def test_random_rows_fit_the_model_and_are_the_same_for_the_same_seed() -> None:
    first, again = random_rows(MODEL, 1, 50), random_rows(MODEL, 1, 50)
    assert {name: (array.shape, array.dtype.kind) for name, array in first.items()} == {
        "x": ((50, 3), "f"),
        "word": ((50, 1), "O"),
        "n": ((50,), "i"),
    }
    assert all((first[name] == again[name]).all() for name in first)


def test_tls_is_read_from_the_files_of_credentials(tmp_path: Path) -> None:
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text(f"-----BEGIN {name}-----")
    ca, certificate, key = (tmp_path / name for name in ("ca", "certificate", "key"))
    assert Security.read(Credentials()) is None
    assert Security.read(Credentials(ca=ca)) == Security(b"-----BEGIN ca-----")
    both = Security(b"-----BEGIN ca-----", b"-----BEGIN certificate-----", b"-----BEGIN key-----")
    assert Security.read(Credentials(ca=ca, certificate=certificate, key=key)) == both
    assert "BEGIN key" not in repr(both)
    with pytest.raises(ConfigError, match="none"):
        Security.read(Credentials(ca=tmp_path / "none"))
    with pytest.raises(ConfigError, match="go together"):
        Security.read(Credentials(ca=ca, certificate=certificate))
