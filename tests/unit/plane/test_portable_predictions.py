"""What a prediction is worth: valid or not, and the slot of the score that stands for it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kedge.kernel.contract import Layout, NumericFeature
from kedge.kernel.reference import numeric_slots
from kedge.plane.evidence import AGREEMENT_CLASSES, DIFFERENCE_BINS, WORDS, Evidence
from kedge.plane.portable.predictions import ScoreRule, are_of, invalid_rows, unfinished_rows
from kedge.plane.portable.shadow_worker import compare


def feature(name: str = "s", **fields: object) -> NumericFeature:
    return NumericFeature(name, 0, 0, **({"edges": (0.0, 0.25, 0.5, 1.0)} | fields))  # type: ignore[arg-type]


def test_probabilities_are_valid_in_their_range_and_values_where_finite() -> None:
    p = np.array([[0.0, 1.0], [0.5, 0.5], [-0.1, 1.1], [np.nan, 0.5], [np.inf, 0.0]], np.float32)
    found = invalid_rows((None, p, True))
    assert found is not None
    assert found.tolist() == [False, False, True, True, True]
    assert invalid_rows((None, p[:2], True)) is None
    values = np.array([1e38, -5.0, np.nan, -np.inf], np.float32)
    found = invalid_rows((None, values, False))
    assert found is not None
    assert found.tolist() == [False, False, True, True]
    assert invalid_rows((None, values[:2], False)) is None
    assert invalid_rows((np.array([3]), None, False)) is None
    assert unfinished_rows((None, p, True)).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    "score", [feature(), feature(atoms=(0.25, 0.75)), feature(missing=None), feature(missing=0.5, valid_max=0.9)]
)
def test_slots_are_those_of_the_kernel(score: NumericFeature) -> None:
    values = np.array([-1, -0.0, 0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.95, 1, 2, math.inf, -math.inf, math.nan])
    rule = ScoreRule(Layout(scores=(score,)))
    for dtype in (np.float64, np.float32, np.float16):
        cast = values.astype(dtype)
        found = rule.slots((None, cast, False), range(len(values)))
        assert found == numeric_slots(score, cast.astype(np.float64)).tolist()


def test_the_score_is_of_class_one_of_two_and_of_the_first_of_more() -> None:
    p = np.array([[0.1, 0.9], [0.6, 0.4]])
    two = ScoreRule(Layout(classes=2, scores=(feature("a"), feature("b"))))
    assert two.read((np.array([1, 0]), p, True), 0) == (1, 0.9)
    assert two.slots((None, p, True), [0, 1]) == [2, 1]
    three = ScoreRule(Layout(classes=3, scores=tuple(map(feature, "abc"))))
    assert three.read((None, np.array([[0.2, 0.3, 0.5]]), True), 0) == (None, 0.2)
    assert three.span == two.span == 1.0
    assert ScoreRule(Layout(scores=(feature(edges=(-1.0, 2.0, 3.0)),))).span == 4.0
    assert two.read(None, 0) == (None, None)


def test_without_a_histogram_there_are_no_slots() -> None:
    p = np.array([[0.1, 0.9]])
    for layout in (Layout(classes=2), Layout(classes=2, scores=(feature("a"),)), Layout()):
        assert ScoreRule(layout).slots((None, p, True), [0]) == []


def test_predictions_are_of_the_rows_they_are_said_to_be() -> None:
    three = np.zeros(3)
    assert are_of((None, three, False), 3)
    assert are_of((None, three, False), None)
    assert not are_of((np.zeros(2, np.int64), three, False), 3)
    assert not are_of((None, np.zeros(0), False), None)


def test_a_pair_is_counted_by_class_and_by_difference() -> None:
    words = np.zeros(WORDS, dtype=np.int64)
    pairs = [
        ((0, 0.0), (0, 0.0)),
        ((1, 0.25), (8, 0.75)),
        ((8, 0.0), (40, 0.999)),
        ((-1, 0.0), (2, math.nan)),
        ((None, 5.0), (None, 0.0)),
        ((3, None), (3, 0.5)),
    ]
    for live, shadow in pairs:
        compare(words, live, shadow, 1.0)
    found = Evidence(words)
    assert found.compared == 6
    assert found.disagreed == 3
    table = np.zeros((AGREEMENT_CLASSES, AGREEMENT_CLASSES), dtype=np.int64)
    table[0, 0] = table[1, 8] = table[8, 8] = table[8, 2] = table[3, 3] = 1
    assert found.agreement.tolist() == table.tolist()
    bins = np.zeros(DIFFERENCE_BINS, dtype=np.int64)
    bins[0], bins[32], bins[63] = 1, 1, 3
    assert found.differences.tolist() == bins.tolist()
