"""Columns of a file as the inputs of a model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from kedge.cli import rows
from kedge.client import ModelMetadata, TensorMetadata
from kedge.errors import ConfigError


def model(*inputs: tuple[str, str, tuple[int, ...]]) -> ModelMetadata:
    return ModelMetadata("m", ("1",), tuple(TensorMetadata(*spec) for spec in inputs), ())


WIDE = model(("x", "FP32", (-1, 3)))
TABLE = pa.table({"a": [1.0, 2.0], "b": [3, None], "c": [5, 6], "label": [0, 1]})


def test_one_wide_input_takes_columns_in_order() -> None:
    made = rows.inputs(TABLE.drop(["label"]), WIDE)
    assert made["x"].dtype == np.float32
    assert np.array_equal(made["x"], np.array([[1, 3, 5], [2, np.nan, 6]], np.float32), equal_nan=True)
    chosen = rows.inputs(TABLE, WIDE, ["c", "b", "a"])
    assert np.array_equal(chosen["x"][0], np.array([5, 3, 1], np.float32))


def test_a_wrong_number_of_columns_says_how_to_choose() -> None:
    with pytest.raises(ConfigError, match=r"takes \[N, 3\] in 'x', the input has 4 columns .*--columns"):
        rows.inputs(TABLE, WIDE)
    with pytest.raises(ConfigError, match="needs columns the input has not: 'z'"):
        rows.inputs(TABLE, WIDE, ["a", "b", "z"])


def test_inputs_by_name_ignore_other_columns() -> None:
    made = rows.inputs(TABLE, model(("c", "INT64", (-1, 1)), ("a", "FP64", (-1,))))
    assert made["c"].tolist() == [[5], [6]]
    assert made["c"].dtype == np.int64
    assert made["a"].tolist() == [1.0, 2.0]


def test_text_is_bytes_and_null_is_empty() -> None:
    table = pa.table({"s": ["é", None], "t": [1, 2]})
    made = rows.inputs(table, model(("s", "BYTES", (-1, 1)), ("t", "BYTES", (-1,))))
    assert made["s"].tolist() == [["é".encode()], [b""]]
    assert made["t"].tolist() == [b"1", b"2"]


def test_lists_fill_wider_inputs() -> None:
    table = pa.table({"v": [[1.0, 2.0], [3.0, 4.0]], "w": [1.0, 2.0]})
    made = rows.inputs(table, model(("v", "FP32", (-1, 2)), ("w", "FP32", (-1,))))
    assert made["v"].shape == (2, 2)
    with pytest.raises(ConfigError, match=r"has shape \[2, 2\], the model takes \[-1, 3\]"):
        rows.inputs(table, model(("v", "FP32", (-1, 3)), ("w", "FP32", (-1,))))


@pytest.mark.parametrize(
    ("column", "dtype", "message"),
    [
        ([1, None], "INT64", "has no value in row 2"),
        ([1.5, 2.0], "INT32", "it holds fractions"),
        (["a", "b"], "FP32", "it holds text"),
        ([1e300, 1.0], "FP32", "does not fit input"),
    ],
)
def test_values_that_do_not_fit_are_named(column: list[object], dtype: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"column 'v'.*{message}"):
        rows.inputs(pa.table({"v": column}), model(("v", dtype, (-1,))))


def test_integers_out_of_range_are_refused_not_wrapped() -> None:
    with pytest.raises(ConfigError, match="column 'v' does not fit input 'v' of INT8"):
        rows.inputs(pa.table({"v": [1, 300]}), model(("v", "INT8", (-1,))))


def test_answers_are_columns() -> None:
    table = rows.answers({"p": np.array([[0.25, 0.75]]), "label": np.array([1]), "s": np.array([[b"x\xff"]], object)})
    assert table.to_pylist() == [{"p_0": 0.25, "p_1": 0.75, "label": 1, "s": "x�"}]
