"""Native (on every instruction set of this machine) and numba count exactly what the reference counts."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor
from kedge.kernel.reference import ReferenceKernel
from kedge.kernel.snapshot import Counts

BUILT = importlib.util.find_spec("kedge._kernel") is not None
WORDS = ["", "a", "AA", "JFK", "EWR", "LGA", "seven77", "eight888", "nine99999", "ünïcødé", "x" * 40, "x" * 39 + "y"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-45, -1e-45, 1.2e-38, 3.4028235e38, -3.4028235e38]
SPECIAL += [1e300, -1e300, 1.7976931348623157e308, math.inf, -math.inf, math.nan, -999.0, 0.1, 2.5, 65504.0]
SIZED = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64]
SIZED += [np.uint64, np.bool_, np.dtype(">f4"), np.dtype(">i2")]


def fast_kernels():
    kernels = []
    if BUILT:
        from kedge import _kernel
        from kedge.kernel.native import NativeKernel

        kernels += [NativeKernel(isa) for isa in _kernel.isas()]
    if importlib.util.find_spec("numba") is not None:
        from kedge.kernel.numba_ import NumbaKernel

        kernels.append(NumbaKernel())
    return kernels


FAST = fast_kernels()
each_kernel = pytest.mark.parametrize("kernel", FAST, ids=lambda kernel: f"{kernel.name}-{kernel.isa}")
seeds = st.integers(0, 2**32 - 1)
exactly = settings(derandomize=True, deadline=None, max_examples=120)


@dataclass
class World:
    """A random layout and random rows for it, all from one seed."""

    rng: np.random.Generator

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def number(self) -> float:
        kind = self.rng.integers(4)
        if kind == 0:
            return float(self.rng.choice(SPECIAL))
        if kind == 1:
            return float(self.rng.integers(-5, 6))
        if kind == 2:
            return float(np.float32(self.rng.normal()))
        return float(self.rng.normal() * 10.0 ** self.rng.integers(-40, 40))

    def increasing(self, low: int, high: int) -> tuple[float, ...]:
        count = int(self.rng.integers(low, high + 1))
        found: set[float] = set()
        while len(found) < count:
            value = self.number()
            found |= {x + 0.0 for x in (value, math.nextafter(value, math.inf)) if math.isfinite(x)}
        return tuple(sorted(found)[:count])

    def numeric(self, name: str, tensor: int, column: int) -> NumericFeature:
        low, high = sorted((self.number(), self.number()))
        ranged = self.chance(0.4) and not math.isnan(low + high - high)
        missing = self.rng.choice([math.nan, None, self.number()])
        return NumericFeature(
            name,
            tensor,
            column,
            edges=self.increasing(2, 21),
            atoms=self.increasing(0, 5),
            valid_min=low if ranged and not math.isnan(low) else -math.inf,
            valid_max=high if ranged and not math.isnan(high) and low <= high else math.inf,
            missing=missing,
            center=float(self.rng.normal()),
            scale=float(10.0 ** self.rng.integers(-3, 4)),
        )

    def categorical(self, name: str, tensor: int, column: int) -> CategoricalFeature:
        pool = list(WORDS) if self.chance(0.6) else [*range(-3, 8), 2**62, -(2**63), 2**63 - 1]
        self.rng.shuffle(pool)
        cut = int(self.rng.integers(1, len(pool) - 2))
        missing = pool[-1] if self.chance(0.5) else None
        return CategoricalFeature(name, tensor, column, tuple(pool[:cut]), tuple(pool[cut : cut + 2]), missing)

    def layout(self) -> Layout:
        tensors, features = [], []
        for t in range(int(self.rng.integers(1, 6))):
            columns = int(self.rng.choice([1, 1, 2, 7, 8, 9, 16, 33]))
            tensor = Tensor(f"t{t}", columns, summary=self.chance(0.15))
            tensors.append(tensor)
            width = 5 if tensor.summary else columns
            text = not tensor.summary and self.chance(0.3)
            for column in sorted(self.rng.choice(width, int(self.rng.integers(1, width + 1)))):
                categorical = not tensor.summary and (text or self.chance(0.1))
                make = self.categorical if categorical else self.numeric
                features.append(make(f"f{len(features)}", t, int(column)))
        return Layout(tuple(tensors), tuple(features))

    def values(self, layout: Layout, t: int, size: int) -> np.ndarray:
        """Float64 values at, next to and between everything the features of a tensor compare with."""
        near = list(SPECIAL)
        for feature in layout.features:
            if feature.tensor == t and isinstance(feature, NumericFeature):
                near += [*feature.edges, *feature.atoms, feature.valid_min, feature.valid_max]
                near += [] if feature.missing is None else [feature.missing]
        x = np.array(near)
        single = x.astype(np.float32)
        up, down = np.float32(np.inf), np.float32(-np.inf)
        pool = [x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), single]
        pool += [np.nextafter(single, up), np.nextafter(single, down), self.rng.normal(size=20), np.arange(-3, 9)]
        return self.rng.choice(np.concatenate(pool), size)

    def tensor(self, layout: Layout, t: int, rows: int) -> np.ndarray:
        tensor = layout.tensors[t]
        features = [feature for feature in layout.features if feature.tensor == t]
        shape = (rows, tensor.columns)
        texts_fit = not tensor.summary and all(isinstance(feature, CategoricalFeature) for feature in features)
        if texts_fit and self.chance(0.8):
            words = np.array([*WORDS, "new", "ZZ top"], dtype=object)
            picked = self.rng.choice(words, shape)
            kind = self.rng.integers(4)
            if kind == 0:
                return self.reshaped(picked)
            if kind == 1:
                encode = np.frompyfunc(lambda word: word.encode(), 1, 1)
                return self.reshaped(np.asarray(encode(picked), dtype=object).reshape(shape))
            return self.reshaped(picked.astype("U") if kind == 2 else np.char.encode(picked.astype("U"), "utf-8"))
        dtype = np.dtype(SIZED[self.rng.integers(len(SIZED))])
        x = self.values(layout, t, rows * tensor.columns).reshape(shape)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            wild = self.rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
            tame = self.rng.integers(max(-5, info.min), 9, shape).astype(dtype)
            return self.reshaped(np.where(self.rng.random(shape) < 0.3, wild, tame).astype(dtype))
        return self.reshaped(x.astype(dtype))

    def reshaped(self, x: np.ndarray) -> np.ndarray:
        """The same values in another place in memory."""
        rows, columns = x.shape
        kind = self.rng.integers(6)
        if kind == 0:
            x = np.asfortranarray(x)
        elif kind == 1:
            wide = np.empty((rows * 2 + 1, columns * 3), x.dtype)
            wide[1::2, ::3] = x
            x = wide[1::2, ::3]
        elif kind == 2:
            x = np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
        elif kind == 3 and x.dtype != object:
            raw = np.zeros(x.nbytes + 1, np.uint8)
            raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
            x = np.frombuffer(raw.tobytes(), x.dtype, offset=1, count=x.size).reshape(x.shape)
        return x.reshape(rows) if columns == 1 and self.chance(0.5) else x


def world(seed: int, rows: int) -> tuple[Layout, list[np.ndarray]]:
    made = World(np.random.default_rng(seed))
    layout = made.layout()
    with np.errstate(all="ignore"):
        return layout, [made.tensor(layout, t, rows) for t in range(len(layout.tensors))]


def counted(kernel, layout: Layout, *calls: list[np.ndarray]) -> Counts:
    sketch = kernel.sketch(layout)
    for call in calls:
        sketch.observe(call)
    return Counts.parse(sketch.snapshot(), layout)


def differences(expected: Counts, got: Counts) -> list[str]:
    lines = []
    for feature, a, b in zip(expected.layout.features, expected.features, got.features, strict=True):
        same = (a.slots == b.slots).all() and (a.sum_q, a.sum_q2, a.minimum, a.maximum) == (
            b.sum_q,
            b.sum_q2,
            b.minimum,
            b.maximum,
        )
        lines += [] if same else [f"{feature}\n  {a}\n  {b}"]
    return lines


@each_kernel
@exactly
@given(seed=seeds, rows=st.sampled_from([0, 1, 2, 3, 4, 5, 7, 31, 129, 300]))
def test_every_kernel_counts_what_the_reference_counts(kernel, seed, rows):
    layout, tensors = world(seed, rows)
    expected = counted(ReferenceKernel(), layout, tensors)
    got = counted(kernel, layout, tensors)
    assert differences(expected, got) == []
    assert got == expected
    assert got.rows == rows


@each_kernel
@exactly
@given(seed=seeds, rows=st.integers(2, 40), share=st.floats(0, 1))
def test_halves_merged_in_any_way_equal_the_whole(kernel, seed, rows, share):
    layout, tensors = world(seed, rows)
    cut = int(rows * share)
    first, second = [t[:cut] for t in tensors], [t[cut:] for t in tensors]
    whole = counted(kernel, layout, tensors)
    a, b = counted(kernel, layout, first), counted(kernel, layout, second)
    assert counted(kernel, layout, second, first) == whole
    assert a + b == whole
    assert b + a == whole
    merged = kernel.sketch(layout)
    merged.observe(second)
    merged.merge(a)
    assert Counts.parse(merged.snapshot(), layout) == whole
    assert (whole - a).words.tolist() == b.words.tolist()


@exactly
@given(seed=seeds)
def test_a_float32_compared_with_bounds_rounded_up_falls_where_float64_says(seed):
    made = World(np.random.default_rng(seed))
    layout = Layout((Tensor("x", 1),), (made.numeric("x", 0, 0),))
    with np.errstate(all="ignore"):
        x = made.values(layout, 0, 400).astype(np.float32)
    expected = counted(ReferenceKernel(), layout, [x.astype(np.float64)])
    for kernel in FAST:
        assert counted(kernel, layout, [x]) == expected
        assert counted(kernel, layout, [x.astype(np.float64)]) == expected


def test_the_native_kernel_is_among_those_compared():
    if not BUILT:
        pytest.skip("kedge._kernel is not built here")
    assert {kernel.name for kernel in FAST} >= {"native"}
