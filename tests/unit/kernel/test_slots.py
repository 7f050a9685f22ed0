"""Which slot a value falls into, rule by rule, and what the moments cover."""

import math

import numpy as np
import pytest

from kedge.kernel import contract as c
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor
from kedge.kernel.snapshot import Counts

EDGES = (0.0, 1.0, 2.0, 4.0)


def count(kernel, feature, values, **tensor):
    layout = Layout((Tensor("x", 1, **tensor),), (feature,))
    sketch = kernel.sketch(layout)
    sketch.observe([np.asarray(values)])
    return Counts.parse(sketch.snapshot(), layout).features[0]


def slots(kernel, feature, values):
    found = count(kernel, feature, values).slots
    return {int(slot): int(found[slot]) for slot in np.nonzero(found)[0]}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_each_rule_has_its_slot(kernel, dtype):
    feature = NumericFeature("x", 0, 0, EDGES, atoms=(0.5, 3.0), valid_min=-1.0, valid_max=9.0, missing=-999.0)
    expected = {
        -999.0: c.MISSING,
        math.nan: c.NAN,
        math.inf: c.POS_INF,
        -math.inf: c.NEG_INF,
        -2.0: c.OUT_OF_RANGE,
        9.5: c.OUT_OF_RANGE,
        0.5: c.FIRST_ATOM,
        3.0: c.FIRST_ATOM + 1,
        -1.0: c.UNDERFLOW,
        4.0: c.OVERFLOW,
        9.0: c.OVERFLOW,
        0.0: 0,
        1.0: 1,
        2.0: 2,
        3.5: 2,
    }
    for value, slot in expected.items():
        assert slots(kernel, feature, np.array([value], dtype)) == {slot: 1}, value
    assert slots(kernel, feature, np.array([-0.0], dtype)) == {0: 1}


def test_nan_is_missing_where_the_schema_says_so(kernel):
    assert slots(kernel, NumericFeature("x", 0, 0, EDGES), [math.nan]) == {c.MISSING: 1}
    assert slots(kernel, NumericFeature("x", 0, 0, EDGES, missing=None), [math.nan]) == {c.NAN: 1}


def test_a_sentinel_wins_over_every_other_rule(kernel):
    for sentinel in (math.inf, -math.inf, 0.0, 0.5, 7.0):
        feature = NumericFeature("x", 0, 0, EDGES, atoms=(0.5,), valid_max=5.0, missing=sentinel)
        assert slots(kernel, feature, [sentinel]) == {c.MISSING: 1}


def test_an_atom_is_one_value_and_not_its_neighbours(kernel):
    feature = NumericFeature("x", 0, 0, EDGES, atoms=(1.0,))
    near = [np.nextafter(1.0, 0), 1.0, np.nextafter(1.0, 2)]
    assert slots(kernel, feature, near) == {0: 1, c.FIRST_ATOM: 1, 1: 1}


def test_the_largest_layout_of_one_feature_fits(kernel):
    edges = tuple(float(i) for i in range(21))
    feature = NumericFeature("x", 0, 0, edges, (1.5, 2.5, 3.5, 4.5, 5.5), -50.0, 50.0, missing=-999.0)
    values = np.r_[np.arange(-60, 60) / 2, -999.0, np.nan, np.inf, -np.inf, 70.0]
    found = count(kernel, feature, values)
    assert found.rows == len(values)
    assert (found.slots[:20] >= 1).all()
    assert found.slots[20:25].tolist() == [1] * 5


def test_moments_are_scaled_rounded_to_even_clipped_and_cover_valid_values_only(kernel):
    feature = NumericFeature("x", 0, 0, EDGES, valid_max=1e6, missing=-1.0, center=1.0, scale=2.0)
    found = count(kernel, feature, [1.25, 1.75, 0.75, 1e6, math.nan, math.inf, 2e6, -1.0])
    # 2 * (x - 1) = 0.5, 1.5, -0.5 and 1,999,998
    assert (found.sum_q, found.sum_q2) == (0 + 2 + 0 + 32768, 4 + 32768**2)
    assert (found.minimum, found.maximum, found.n) == (0.75, 1e6, 4)


def test_a_scale_that_overflows_is_clipped(kernel):
    found = count(kernel, NumericFeature("x", 0, 0, EDGES, scale=1e300), [1e300, -1e300])
    assert (found.sum_q, found.sum_q2) == (0, 2 * 32768**2)


def test_negative_zero_is_kept_as_zero(kernel):
    found = count(kernel, NumericFeature("x", 0, 0, EDGES), [-0.0])
    assert math.copysign(1.0, found.minimum) == math.copysign(1.0, found.maximum) == 1.0


def test_nothing_counted_has_infinite_bounds(kernel):
    found = count(kernel, NumericFeature("x", 0, 0, EDGES), [math.nan])
    assert (found.minimum, found.maximum, found.n) == (math.inf, -math.inf, 0)


def test_wide_integers_are_compared_as_float64(kernel):
    feature = NumericFeature("x", 0, 0, (0.0, 2.0**53, 2.0**54))
    assert slots(kernel, feature, np.array([2**53 - 1, 2**53, 2**53 + 1], np.int64)) == {0: 1, 1: 2}
    assert slots(kernel, feature, np.array([2**64 - 1], np.uint64)) == {c.OVERFLOW: 1}


STRINGS = CategoricalFeature("c", 0, 0, ("JFK", "EWR", "Zürich"), other=("LGA",), missing="")
INTEGERS = CategoricalFeature("c", 0, 0, (7, -1), other=(2**63 - 1,), missing=0)


def test_strings_are_matched_as_utf8_bytes(kernel):
    words = ["JFK", "EWR", "Zürich", "LGA", "", "BOS", "JFK\0"]
    expected = {0: 1, 1: 1, 2: 1, c.CAT_OTHER: 1, c.CAT_MISSING: 1, c.CAT_UNSEEN: 2}
    assert slots(kernel, STRINGS, np.array(words, object)) == expected
    assert slots(kernel, STRINGS, np.array([word.encode() for word in words], object)) == expected


def test_numpy_strings_are_matched_without_their_padding(kernel):
    expected = {0: 2, 2: 1, c.CAT_MISSING: 1}
    assert slots(kernel, STRINGS, np.array(["JFK", "JFK", "Zürich", ""])) == expected
    assert slots(kernel, STRINGS, np.array([b"JFK", b"JFK", "Zürich".encode(), b""])) == expected


def test_integers_floats_and_booleans_are_matched_as_int64(kernel):
    assert slots(kernel, INTEGERS, np.array([7, -1, 0, 5, 2**63 - 1])) == {
        0: 1,
        1: 1,
        c.CAT_MISSING: 1,
        c.CAT_UNSEEN: 1,
        c.CAT_OTHER: 1,
    }
    assert slots(kernel, INTEGERS, np.array([2**64 - 1, 7], np.uint64)) == {c.CAT_UNSEEN: 1, 0: 1}
    assert slots(kernel, INTEGERS, np.array([True, False])) == {c.CAT_UNSEEN: 1, c.CAT_MISSING: 1}
    floats = [7.0, -0.0, 7.5, math.nan, math.inf, 2.0**63, -(2.0**63)]
    expected = {0: 1, c.CAT_MISSING: 2, c.CAT_INVALID: 3, c.CAT_UNSEEN: 1}
    assert slots(kernel, INTEGERS, np.array(floats)) == expected


def test_kinds_that_differ_are_invalid(kernel):
    assert slots(kernel, INTEGERS, np.array(["7"], object)) == {c.CAT_INVALID: 1}
    assert slots(kernel, STRINGS, np.array([7])) == {c.CAT_INVALID: 1}
    assert slots(kernel, STRINGS, np.array([7.0, math.nan])) == {c.CAT_INVALID: 1, c.CAT_MISSING: 1}


def test_a_summary_tensor_counts_five_values_a_row(kernel):
    rng = np.random.default_rng(3)
    images = rng.normal(size=(9, 3, 5, 7)).astype(np.float32)
    names = ("mean", "deviation", "norm", "minimum", "maximum")
    edges = (-100.0, 100.0)
    features = tuple(NumericFeature(name, 0, i, edges, scale=100.0) for i, name in enumerate(names))
    layout = Layout((Tensor("image", 105, summary=True),), features)
    sketch = kernel.sketch(layout)
    sketch.observe([images])
    counts = Counts.parse(sketch.snapshot(), layout)
    rows = images.reshape(9, -1).astype(np.float64)
    expected = (rows.mean(1), rows.std(1), np.linalg.norm(rows, axis=1), rows.min(1), rows.max(1))
    for found, values in zip(counts.features, expected, strict=True):
        assert found.n == 9
        assert found.minimum == pytest.approx(values.min(), rel=1e-12)
        assert found.maximum == pytest.approx(values.max(), rel=1e-12)


def test_a_nan_in_a_summary_row_makes_all_five_nan(kernel):
    features = tuple(NumericFeature(f"s{i}", 0, i, EDGES, missing=None) for i in range(5))
    layout = Layout((Tensor("image", 11, summary=True),), features)
    sketch = kernel.sketch(layout)
    sketch.observe([np.r_[np.ones(10), np.nan].reshape(1, 11)])
    assert [f.slots[c.NAN] for f in Counts.parse(sketch.snapshot(), layout).features] == [1] * 5
