"""Which feature stands where, and one clear message for every way in which model and data disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kedge.build import features, rows
from kedge.build.spec import Spec
from kedge.build.tables import Data
from kedge.bundle.manifest import TensorSpec
from kedge.errors import SpecError

MATRIX = (TensorSpec(name="x", dtype="FP32", shape=(-1, 2)),)


def spec_of(**changes: Any) -> Spec:
    return Spec.model_validate(
        {"name": "n", "version": "1", "model": "m", "data": {"reference": "d", "label": "y", "time": "t"}} | changes
    )


def data_of(**columns: Any) -> Data:
    return Data(pa.table(columns), "d.parquet", "", "")


def each(*inputs: tuple[str, str]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype=dtype, shape=(-1, 1)) for name, dtype in inputs)


def placed(inputs: tuple[TensorSpec, ...], data: Data, **changes: Any) -> dict[str, tuple[str, int, str, str]]:
    return {
        item.feature.name: (item.feature.source.tensor, item.feature.source.column, item.feature.kind, item.data)
        for item in features.infer(spec_of(**changes), inputs, data)
    }


def test_one_matrix_takes_every_column_but_label_and_time_in_order() -> None:
    data = data_of(t=[1], b=[1.0], y=[0], a=[1])
    assert placed(MATRIX, data) == {"b": ("x", 0, "numeric", "b"), "a": ("x", 1, "numeric", "a")}


def test_a_list_of_features_gives_the_order_and_leaves_columns_out() -> None:
    data = data_of(a=[1.0], b=[1.0], c=[1.0], y=[0])
    assert list(placed(MATRIX, data, features=["c", "a"])) == ["c", "a"]


def test_columns_of_a_matrix_can_be_said_by_number() -> None:
    data = data_of(a=[1.0], b=[1.0])
    found = placed(MATRIX, data, features={"a": {"column": 1}, "b": {"column": 0}})
    assert (found["a"][1], found["b"][1]) == (1, 0)


def test_inputs_of_their_own_are_found_by_name_whatever_else_the_data_holds() -> None:
    data = data_of(other=[1.0], flag=[True], name=["u"], n=[1], y=[0])
    found = placed(each(("name", "BYTES"), ("n", "INT64"), ("flag", "BOOL")), data)
    assert {name: kind for name, (_, _, kind, _) in found.items()} == {
        "name": "categorical",
        "n": "numeric",
        "flag": "categorical",
    }


def test_a_list_column_is_watched_by_its_five_summaries() -> None:
    image = (TensorSpec(name="image", dtype="FP32", shape=(-1, 2, 2)),)
    data = data_of(image=[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]])
    found = features.infer(spec_of(), image, data)
    assert [item.feature.name for item in found] == ["image.mean", "image.std", "image.norm", "image.min", "image.max"]
    assert {item.feature.kind for item in found} == {"summary"}
    assert rows.tensors(image, found, data)["image"].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


@pytest.mark.parametrize(
    ("inputs", "columns", "changes", "complaint"),
    [
        (MATRIX, {"a": [1.0]}, {}, "input 'x' FP32 [N, 2] takes 2 features, the data gives 1: a; list the right ones"),
        (MATRIX, {"a": [1.0], "b": ["u"]}, {}, "feature 'b' is text in the data, input 'x' FP32 [N, 2] takes numbers"),
        (MATRIX, {"a": [1.0], "b": [1.0]}, {"features": ["a", "z"]}, "has no column 'z' for feature 'z'; it has a, b"),
        (MATRIX, {"a": [1.0], "b": [1.0]}, {"features": {"z": {}}}, "features.z: no input of the model carries"),
        (
            MATRIX,
            {"a": [1.0], "b": [1.0]},
            {"features": {"a": {"column": 1}}},
            "features.b.column: 1 is taken by feature 'a'",
        ),
        (MATRIX, {"a": [1.0], "b": [1.0]}, {"features": {"a": {"column": 2}}}, "features.a.column: 2 is past the end"),
        (each(("a", "FP32"), ("q", "FP32")), {"a": [1.0]}, {}, "has no column 'q' for feature 'q'; it has a"),
        (
            each(("a", "BYTES"), ("b", "FP32")),
            {"a": [1], "b": [1.0]},
            {},
            "feature 'a' is int64 in the data, but input",
        ),
        (
            (TensorSpec(name="x", dtype="FP32", shape=(-1, -1)),),
            {"a": [1.0]},
            {},
            "input 'x' FP32 [N, ?]: only the batch may be dynamic",
        ),
        (
            (TensorSpec(name="x", dtype="FP32", shape=(-1, 3, 8, 8)),),
            {"a": [1.0]},
            {},
            "the data needs a column 'x' of lists of 192 numbers",
        ),
        (
            (*MATRIX, *each(("a", "FP32"))),
            {"a": [1.0]},
            {},
            "say which features it carries, each with tensor: x under features",
        ),
        (
            each(("a", "INT64"), ("b", "FP32")),
            {"a": [1], "b": [1.0]},
            {"features": {"a": {"missing": "nan"}}},
            "has no NaN",
        ),
        (
            each(("a", "FP32"), ("b", "FP32")),
            {"a": [1], "b": [1.0]},
            {"features": {"a": {"missing": "x"}}},
            "cannot stand in",
        ),
        (
            each(("a", "FP32"), ("b", "FP32")),
            {"a": [1], "b": [1.0]},
            {"features": {"a": {"valid": {"min": 2, "max": 1}}}},
            "features.a.valid: min 2.0 is above max 1.0",
        ),
        (
            each(("a", "FP32"), ("b", "FP32")),
            {"a": [1], "b": [1.0]},
            {"features": {"a": {"vocabulary": ["u"]}}},
            "only a categorical feature has one",
        ),
    ],
)
def test_a_model_that_disagrees_with_the_data_gets_one_message(
    inputs: tuple[TensorSpec, ...], columns: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SpecError) as caught:
        features.infer(spec_of(**changes), inputs, data_of(**columns))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "changes", "hinted"),
    [
        ("abc", {"data": {"reference": "d"}}, True),
        ("abcd", {"data": {"reference": "d"}}, False),
        ("abc", {}, False),
        ("abc", {"data": {"reference": "d"}, "features": ["a", "b", "c"]}, False),
        ("abc", {"data": {"reference": "d"}, "features": {name: {"tensor": "x"} for name in "abc"}}, False),
    ],
)
def test_one_column_too_many_may_be_a_label_that_was_not_said(
    columns: str, changes: dict[str, Any], hinted: bool
) -> None:
    with pytest.raises(SpecError, match="takes 2 features, the data gives ") as caught:
        features.infer(spec_of(**changes), MATRIX, data_of(**{name: [1.0] for name in columns}))
    assert ("if one of them is the label, name it as data.label" in str(caught.value)) is hinted


def test_missing_values_become_what_stands_for_them() -> None:
    inputs = each(("f", "FP32"), ("i", "INT32"), ("s", "BYTES"))
    data = data_of(f=[1.0, None], i=[7, None], s=["u", None])
    found = features.infer(spec_of(features={"i": {"missing": -1}}), inputs, data)
    tensors = rows.tensors(inputs, found, data)
    assert tensors["f"].dtype == np.float32
    assert np.isnan(tensors["f"][1, 0])
    assert (tensors["i"].ravel().tolist(), tensors["i"].dtype) == ([7, -1], np.int32)
    assert tensors["s"].ravel().tolist() == ["u", ""]


@pytest.mark.parametrize(
    ("dtype", "column", "complaint"),
    [
        ("INT64", [1, None], "has 1 empty values, but input 'v' INT64 [N, 1] has none for missing; say which value"),
        ("INT8", [1, 300], "does not fit input 'v' INT8 [N, 1]"),
        ("INT64", [1.0, 1.5], "does not fit input 'v' INT64 [N, 1]"),
    ],
)
def test_values_that_do_not_fit_their_input_are_refused(dtype: str, column: list[Any], complaint: str) -> None:
    inputs = each(("v", dtype), ("w", "FP32"))
    data = data_of(v=column, w=[1.0, 2.0])
    with pytest.raises(SpecError) as caught:
        rows.tensors(inputs, features.infer(spec_of(), inputs, data), data)
    assert complaint in str(caught.value)


def test_a_vocabulary_is_the_references_most_frequent_first_without_what_means_missing() -> None:
    inputs = each(("s", "BYTES"), ("k", "FP32"))
    data = data_of(s=["b", "a", "b", "", None, "c"], k=[3.0, 3.0, 1.0, None, 2.0, 3.0])
    found = features.infer(spec_of(features={"k": {"kind": "categorical"}}), inputs, data)
    tensors = rows.tensors(inputs, found, data)
    vocabularies = [rows.with_vocabulary(item.feature, tensors[item.feature.name].ravel()).vocabulary for item in found]
    assert vocabularies == [("b", "a", "c"), (3, 1, 2)]


def test_categories_sent_as_floats_must_be_whole() -> None:
    inputs = each(("k", "FP32"), ("w", "FP32"))
    (item, _) = features.infer(spec_of(features={"k": {"kind": "categorical"}}), inputs, data_of(k=[1.5], w=[1.0]))
    with pytest.raises(SpecError, match="must be whole numbers"):
        rows.with_vocabulary(item.feature, np.array([1.5], np.float32))
