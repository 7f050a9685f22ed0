"""Files of labels: which columns are taken, and what is said of those that do not fit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from kedge.cli.outcomes import _pairs
from kedge.errors import ConfigError


def pairs(chosen: str | None = None, by: str = "prediction_id", **columns: list[Any]) -> list[tuple[str, Any]]:
    return list(_pairs(pa.table(columns), by, chosen))


def test_the_only_other_column_holds_the_labels_or_the_one_called_label() -> None:
    assert pairs(prediction_id=["a", "b"], late=[1, None]) == [("a", 1), ("b", None)]
    assert pairs(prediction_id=["a"], late=[1], label=["yes"]) == [("a", "yes")]
    assert pairs("late", prediction_id=["a"], late=[0.5], other=[1]) == [("a", 0.5)]
    assert pairs(by="id", id=["a"], late=[True]) == [("a", True)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prediction_id": []}, "no rows"),
        ({"id": ["a"], "late": [1]}, "--ids: the file has no column 'prediction_id'; it has: id, late"),
        ({"prediction_id": ["a"]}, "--label: say which column holds the labels; there are: none"),
        ({"prediction_id": ["a"], "x": [1], "y": [2]}, "--label: say which column holds the labels; there are: x, y"),
        ({"prediction_id": ["a", None], "x": [1, 2]}, "--ids: row 2 of column 'prediction_id' holds no text"),
        ({"prediction_id": [1], "x": [1]}, "--ids: row 1"),
        ({"prediction_id": ["a"], "x": [[1]]}, "--label: row 1 of column 'x' holds neither text nor a number"),
    ],
)
def test_what_does_not_fit_is_named(columns: dict[str, list[Any]], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        pairs(**columns)
    assert words in str(refused.value)
