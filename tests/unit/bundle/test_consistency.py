"""Files that are valid alone are refused where they contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import making
import numpy as np
import pytest

from kedge.bundle import golden

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = "features/schema.json"
REFERENCE = "reference/distributions.json"
SERVING = "config/serving.json"
GOLDEN = "golden/golden.json"


def tensors(name: str, array: Any, dtype: str = "FP32") -> list[dict[str, Any]]:
    return [golden.encode(name, dtype, np.asarray(array)).model_dump(mode="json")]


CONTRADICTIONS: list[tuple[str, str, Any, str]] = [
    (SCHEMA, "features.0.source.tensor", "nowhere", "the model has no input 'nowhere'"),
    (SCHEMA, "features.0.source.column", 2, "column 2 of 'x', which has 2"),
    (SCHEMA, "features.0.dtype", "INT64", "is INT64, its tensor 'x' FP32"),
    (SCHEMA, "features.1.name", "speed", "feature 'speed' appears twice"),
    (SCHEMA, "features.0.valid", {"min": 2, "max": 1}, "valid range [2.0, 1.0] is empty"),
    (SCHEMA, "features.0.missing", {"kind": "sentinel"}, "a sentinel needs a value"),
    (SCHEMA, "features.0.missing", {"kind": "nan", "value": 1}, "only a sentinel has one"),
    (
        SCHEMA,
        "features.0.missing",
        {"kind": "sentinel", "value": "x"},
        "sentinel of a numeric feature must be a number",
    ),
    (SCHEMA, "features.0.vocabulary", [1], "a numeric feature has no vocabulary"),
    (SCHEMA, "features.1.vocabulary", [1, 1], "a category appears twice"),
    (SCHEMA, "features.1.vocabulary", ["a"], "categories are text, its tensor FP32"),
    (SCHEMA, "features.1.vocabulary", [], "needs 1 to 60 categories"),
    (SCHEMA, "features.1.kind", "summary", "a summary feature has no vocabulary"),
    (SCHEMA, "slices", ["nowhere"], "slices: there is no feature 'nowhere'"),
    (REFERENCE, "features.0.name", "nowhere", "not those of features/schema.json"),
    (REFERENCE, "features.1.name", "speed", "appears twice"),
    (REFERENCE, "features.0.counts", [1] * 31, "31 counts, expected 32"),
    (REFERENCE, "features.1.counts", [1] * 32, "32 counts, expected 64"),
    (REFERENCE, "features.0.counts", [-1] * 32, "below zero"),
    (REFERENCE, "features.0.edges", [1.0, 1.0], "edges must increase strictly"),
    (REFERENCE, "features.0.scale", 0.0, "scale finite and above zero"),
    (REFERENCE, "features.0.bin_means", [1.0], "1 bin means"),
    (REFERENCE, "classes", [1], "1 counts, expected 0 or 3"),
    (REFERENCE, "top", [1], "top: 1 counts, expected 0 or 32"),
    (REFERENCE, "reliability.n", [1, 2, 3], "reliability: 3 counts, expected 2"),
    (REFERENCE, "conformal", {"score": "lac", "edges": [0.1], "counts": [1, 2, 3], "n": 6}, "3 counts, expected 0"),
    (
        REFERENCE,
        "conformal",
        {"score": "absolute", "edges": [0.1, 0.2], "counts": [3], "n": 3},
        "scores of kind 'absolute' are not of the prediction that is served",
    ),
    (SERVING, "prediction.sigma_output", "nowhere", "no output 'nowhere'"),
    (SERVING, "prediction.sigma_output", "y", "sigma and bounds are of values"),
    (SERVING, "prediction.output", "nowhere", "no output 'nowhere'"),
    (SERVING, "prediction.label_output", "nowhere", "no output 'nowhere'"),
    (SERVING, "prediction.classes", ["a", "a"], "class 'a' appears twice"),
    (SERVING, "prediction.classes", [], "kind 'logits' with 0 classes"),
    (SERVING, "prediction.classes", ["a", "b", "c"], "3 classes, but 'y' has 2 values a row"),
    (SERVING, "prediction.kind", "value", "kind 'value' with 2 classes"),
    (GOLDEN, "inputs", tensors("z", making.ROWS), "inputs are not those of bundle.json"),
    (GOLDEN, "outputs", tensors("y", making.ROWS, "FP64"), "output 'y' is FP64 [3, 2]"),
    (GOLDEN, "inputs", tensors("x", making.ROWS[:, :1]), "input 'x' is FP32 [3, 1], bundle.json says FP32 [-1, 2]"),
    (GOLDEN, "inputs.0.raw", "AAAA", "3 bytes for 6 elements"),
    ("eval/gates.json", "gates.0.passed", False, "accuracy 0.9 >= 0.8 is recorded passed=False"),
    ("eval/gates.json", "gates.0.op", "<=", "accuracy 0.9 <= 0.8 is recorded passed=True"),
    (
        "lineage/provenance.json",
        "buildDefinition.resolvedDependencies",
        [{"name": "parent", "digest": {"sha256": "0" * 64}}],
        "its parent is not the one of bundle.json",
    ),
    (
        "data/snapshots.json",
        "snapshots",
        [{"role": "reference", "uri": "x.csv", "sha256": "0" * 64, "rows": 1, "schema_sha256": "0" * 64}],
        "the reference data of data/snapshots.json is not among its dependencies",
    ),
]


@pytest.mark.parametrize(("path", "field", "value", "reason"), CONTRADICTIONS)
def test_a_contradiction_is_refused(
    refused: Callable[[bytes], str], path: str, field: str, value: Any, reason: str
) -> None:
    documents = making.documents()
    target = documents[path]
    *steps, last = field.split(".")
    for step in steps:
        target = target[int(step)] if step.isdigit() else target[step]
    target[last] = value
    message = refused(making.pack(making.files(documents)))
    assert reason in message
    assert message.startswith((path, "reference/distributions.json", "golden tensor", "lineage/provenance.json"))


def test_tensors_are_distinct_and_batchable_ones_have_a_dynamic_first_dimension(
    refused: Callable[[bytes], str],
) -> None:
    tensor = {"name": "y", "dtype": "FP32", "shape": [-1, 2]}
    assert "output 'y' appears twice" in refused(making.pack(making.files(), outputs=[tensor, tensor]))
    assert "not dynamic" in refused(making.pack(making.files(), outputs=[{**tensor, "shape": [3, 2]}]))
    assert "below -1" in refused(making.pack(making.files(), outputs=[{**tensor, "shape": [-1, -2]}]))


def test_features_of_the_reference_stand_in_the_order_of_the_schema(refused: Callable[[bytes], str]) -> None:
    documents = making.documents()
    documents[REFERENCE]["features"].reverse()
    assert "in their order" in refused(making.pack(making.files(documents)))
