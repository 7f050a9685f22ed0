"""What the kernel watches follows from schema, reference and serving config."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import making
import pytest

from kedge.bundle.contents import Bundle
from kedge.errors import KernelError
from kedge.kernel.contract import CategoricalFeature, NumericFeature, Tensor

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = "reference/distributions.json"


def read(directory: Path, documents: dict[str, Any] | None = None, **changes: Any) -> Bundle:
    return Bundle.read(making.lay_out(directory, making.files(documents), **changes))


def test_the_layout_of_a_bundle(tmp_path: Path) -> None:
    layout = read(tmp_path).layout()
    assert layout.tensors == (Tensor("x", 2),)
    speed, gate = layout.features
    assert isinstance(speed, NumericFeature)
    assert (speed.name, speed.column, speed.edges, speed.center, speed.scale) == (
        "speed",
        0,
        (0.0, 1.0, 2.0),
        1.0,
        100.0,
    )
    assert speed.missing is not None
    assert math.isnan(speed.missing)
    assert gate == CategoricalFeature("gate", 0, 1, vocabulary=(2, 0))
    assert layout.classes == 2
    assert [(score.name, score.column) for score in layout.scores] == [("no", 0), ("yes", 1)]
    assert layout.reliability_edges == (0.7,)
    assert layout.schema_inputs == ("x",)


def test_without_a_reference_only_schema_latency_and_errors_are_watched(tmp_path: Path) -> None:
    documents = making.documents()
    del documents[REFERENCE]
    layout = read(tmp_path, documents).layout()
    assert layout.tensors == layout.features == layout.scores == ()
    assert layout.classes == 0
    assert layout.schema_inputs == ("x",)


def test_sentinels_ranges_and_rare_categories(tmp_path: Path) -> None:
    documents = making.documents()
    speed, gate = documents["features/schema.json"]["features"]
    speed |= {"missing": {"kind": "sentinel", "value": -1}, "valid": {"min": 0}}
    gate |= {"missing": {"kind": "sentinel", "value": -9}, "vocabulary": list(range(70))}
    first, second = read(tmp_path, documents).layout().features
    assert isinstance(first, NumericFeature)
    assert (first.missing, first.valid_min, first.valid_max) == (-1.0, 0.0, math.inf)
    assert isinstance(second, CategoricalFeature)
    assert (second.vocabulary, second.other, second.missing) == (tuple(range(60)), tuple(range(60, 70)), -9)


def test_tensors_come_in_the_order_in_which_features_read_them(tmp_path: Path) -> None:
    documents = making.documents()
    speed, gate = documents["features/schema.json"]["features"]
    speed["source"] = {"tensor": "b"}
    gate["source"] = {"tensor": "a"}
    inputs = [{"name": name, "dtype": "FP32", "shape": [-1]} for name in ("a", "unwatched", "b")]
    layout = read(tmp_path, documents, inputs=inputs).layout()
    assert layout.tensors == (Tensor("b", 1), Tensor("a", 1))
    assert [feature.tensor for feature in layout.features] == [0, 1]
    assert layout.schema_inputs == ("a", "unwatched", "b")


def summaries(shape: list[int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    documents = making.documents()
    names = ("mean", "deviation", "norm", "least", "most")
    reference = documents[REFERENCE]["features"][0]
    documents["features/schema.json"]["features"] = [
        {"name": name, "dtype": "FP32", "source": {"tensor": "image", "column": i}, "kind": "summary"}
        for i, name in enumerate(names)
    ]
    documents[REFERENCE]["features"] = [{**reference, "name": name} for name in names]
    return documents, [{"name": "image", "dtype": "FP32", "shape": shape}]


def test_a_wide_tensor_is_watched_by_five_summaries_of_its_rows(tmp_path: Path) -> None:
    documents, inputs = summaries([-1, 3, 8, 8])
    layout = read(tmp_path, documents, inputs=inputs).layout()
    assert layout.tensors == (Tensor("image", 192, summary=True),)
    assert [feature.column for feature in layout.features] == [0, 1, 2, 3, 4]


def test_rows_of_open_width_cannot_be_watched(tmp_path: Path) -> None:
    documents, inputs = summaries([-1, 3, -1, -1])
    with pytest.raises(KernelError, match="only the batch may be dynamic"):
        read(tmp_path, documents, inputs=inputs).layout()


def test_columns_need_rows_that_are_flat(tmp_path: Path) -> None:
    inputs = [{"name": "x", "dtype": "FP32", "shape": [-1, 2, 2]}]
    with pytest.raises(KernelError, match="declare its features as summary"):
        read(tmp_path, inputs=inputs).layout()


def test_a_tensor_is_read_by_column_or_as_a_summary_not_both(tmp_path: Path) -> None:
    documents = making.documents()
    documents["features/schema.json"]["features"][0]["kind"] = "summary"
    with pytest.raises(KernelError, match="both by column and as a summary"):
        read(tmp_path, documents).layout()


def test_schema_and_reference_must_agree_on_the_kind(tmp_path: Path) -> None:
    documents = making.documents()
    documents["features/schema.json"]["features"][0] |= {"kind": "categorical", "vocabulary": [1]}
    with pytest.raises(KernelError, match="is categorical in the schema, numeric in the reference"):
        read(tmp_path, documents).layout()
