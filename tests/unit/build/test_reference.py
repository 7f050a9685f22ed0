"""Reference bins: equal frequency, atoms for spikes, every reference value in a bin or an atom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kedge.build import reference
from kedge.kernel.contract import FIRST_ATOM, MAX_ATOMS, MAX_BINS, NAN, UNDERFLOW, Layout, NumericFeature, Tensor
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.manifest import NumericReference


def count(shape: NumericReference, values: NDArray[np.float64]) -> NDArray[np.int64]:
    feature = NumericFeature("v", 0, 0, shape.edges, shape.atoms, center=shape.center, scale=shape.scale)
    layout = Layout(tensors=(Tensor("v", 1),), features=(feature,))
    sketch = select("reference").sketch(layout)
    sketch.observe([values])
    return Counts.parse(sketch.snapshot(), layout).features[0].slots


def test_a_smooth_feature_has_twenty_equal_bins() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    shape = reference.numeric("v", values)
    assert len(shape.edges) == MAX_BINS + 1
    assert shape.atoms == ()
    assert shape.edges[-1] == np.nextafter(values.max(), np.inf)
    slots = count(shape, values)
    assert slots[:MAX_BINS].sum() == 10_000
    assert slots[:MAX_BINS].max() - slots[:MAX_BINS].min() <= 2


def test_a_value_with_over_a_twentieth_of_the_mass_is_an_atom() -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(10_000) < 0.6, 0.0, rng.exponential(size=10_000))
    shape = reference.numeric("v", values)
    assert shape.atoms == (0.0,)
    slots = count(shape, values)
    assert slots[FIRST_ATOM] == (values == 0).sum()
    assert slots[:MAX_BINS].min() > 150, "the bins share what is not zero"


def test_a_feature_of_few_values_has_an_atom_each_up_to_five() -> None:
    values = np.repeat(np.arange(7.0), 100)
    shape = reference.numeric("v", values)
    assert shape.atoms == (0.0, 1.0, 2.0, 3.0, 4.0)
    slots = count(shape, values)
    assert slots[FIRST_ATOM : FIRST_ATOM + MAX_ATOMS].tolist() == [100] * 5
    assert slots[:MAX_BINS].sum() == 200


def test_means_lie_in_their_bins_and_moments_have_a_thousandth_of_a_deviation() -> None:
    values = np.random.default_rng(2).lognormal(size=5_000)
    shape = reference.numeric("v", values)
    edges = np.array(shape.edges)
    assert len(shape.bin_means) == len(edges) - 1
    assert (np.array(shape.bin_means) >= edges[:-1]).all()
    assert (np.array(shape.bin_means) <= edges[1:]).all()
    assert shape.center == pytest.approx(values.mean())
    assert shape.scale * values.std() == pytest.approx(1024)


def test_what_is_missing_or_out_of_range_shapes_nothing() -> None:
    values = np.array([np.nan, np.inf, 1.0, 2.0, 3.0, 999.0])
    shape = reference.numeric("v", values, regular=values < 100)
    assert shape.center == 2.0
    assert max(*shape.edges, *shape.atoms) < 100


def test_a_feature_without_a_value_still_has_bins() -> None:
    shape = reference.numeric("v", np.full(5, np.nan))
    assert (shape.edges, shape.scale) == ((0.0, 1.0), 1.0)


FLOATS = st.floats(-1e300, 1e300, allow_subnormal=False, width=64)


@settings(max_examples=150, deadline=None)
@given(
    values=arrays.arrays(np.float64, st.integers(1, 80), elements=FLOATS | st.sampled_from([0.0, -0.0, 1.0, np.nan]))
)
def test_every_finite_value_of_the_reference_falls_into_a_bin_or_an_atom(values: NDArray[np.float64]) -> None:
    with np.errstate(over="ignore"):
        shape = reference.numeric("v", values)
    slots = count(shape, values)
    assert slots[:UNDERFLOW].sum() == np.isfinite(values).sum()
    assert slots.sum() == len(values)
    assert slots[NAN] == 0, "a NaN is missing, by the default policy"


def test_bins_end_where_slices_do() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    cuts = (-9.0, -0.1, 0.1, 0.2)
    shape = reference.numeric("v", values, cuts=cuts)
    assert set(cuts) <= set(shape.edges)
    assert len(shape.edges) == len(shape.bin_means) + 1 == 21
    assert shape.edges[0] == -9.0
    assert shape.edges[-1] > values.max()
    assert reference.numeric("v", values, cuts=tuple(range(20))).edges == reference.numeric("v", values).edges
