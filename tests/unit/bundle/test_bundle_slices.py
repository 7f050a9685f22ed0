"""Slices: which a row is in, by the values of the features that the schema names, and its one id for all of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.build import reference
from kedge.bundle import layout as layouts
from kedge.bundle import slice_slots
from kedge.bundle.manifest import (
    Feature,
    FileEntry,
    Manifest,
    MissingPolicy,
    Schema,
    Serving,
    Slicing,
    Source,
    TensorSpec,
    ValidRange,
)
from kedge.bundle.slices import CATEGORIES, Slices
from kedge.errors import BundleError
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence

SENTINEL = MissingPolicy(kind="sentinel", value="")


def text(name: str = "k", vocabulary: tuple[str, ...] = ("a", "b"), missing: MissingPolicy = SENTINEL) -> Feature:
    return Feature(
        name=name, dtype="BYTES", source=Source(tensor=name), kind="categorical", vocabulary=vocabulary, missing=missing
    )


def whole(vocabulary: tuple[int, ...], dtype: str = "INT64", **given: Any) -> Feature:
    return Feature(name="k", dtype=dtype, source=Source(tensor="k"), kind="categorical", vocabulary=vocabulary, **given)


def number(name: str = "x", dtype: str = "FP32", **given: Any) -> Feature:
    return Feature(name=name, dtype=dtype, source=Source(tensor=name), kind="numeric", **given)


def of(*said: Any, features: Sequence[Feature]) -> Slices:
    return Slices.of(Schema(features=tuple(features), slices=said))


def places(feature: Feature, values: Sequence[Any], dtype: Any, edges: tuple[float, ...] = ()) -> list[str]:
    """Names of the slices these values of one feature are in."""
    slices = of(Slicing(feature=feature.name, edges=edges) if edges else feature.name, features=[feature])
    found = slices.places({feature.name: np.array(values, dtype)})[:, 0]
    return [slices.features[0].values[place] for place in found]


def test_a_category_has_its_slice_and_so_have_unseen_and_missing() -> None:
    assert places(text(), ["a", "b", "c", ""], object) == ["a", "b", "(unseen)", "(missing)"]
    assert places(text(missing=MissingPolicy(kind="none")), ["a", ""], object) == ["a", "(unseen)"]
    found = places(whole((7, 8), "FP64"), [7.0, 8.5, np.nan, np.inf, -7.0, 1e300], np.float64)
    assert found == ["7", "(unseen)", "(missing)", "(unseen)", "(unseen)", "(unseen)"]
    late = whole((0, 2**63 - 1), "UINT64", missing=MissingPolicy(kind="sentinel", value=9))
    assert places(late, [0, 2**63 - 1, 2**64 - 1, 9], np.uint64)[1:] == [str(2**63 - 1), "(unseen)", "(missing)"]


def test_rare_categories_share_a_slice() -> None:
    vocabulary = tuple(f"c{index:02d}" for index in range(70))
    found = places(text(vocabulary=vocabulary), [*vocabulary, "new", ""], object)
    assert found == [*vocabulary[:CATEGORIES], *["(other)"] * 50, "(unseen)", "(missing)"]


def test_a_category_that_is_called_unseen_is_not_taken_for_it() -> None:
    assert places(text(vocabulary=("(unseen)",)), ["(unseen)", "x"], object) == ["'(unseen)'", "(unseen)"]


def test_a_number_equal_to_an_edge_lies_above_it() -> None:
    feature = number(missing=MissingPolicy(kind="sentinel", value=-1))
    values = [-np.inf, 14.999, 15, np.nextafter(np.float32(60), np.float32(0)), 60, np.inf, np.nan, -1]
    low, mid, high, none = "below 15", "15 to 60", "60 and above", "(missing)"
    assert places(feature, values, np.float32, (15, 60)) == [low, low, mid, mid, high, high, none, none]
    # 0.1 as float32 is above 0.1
    assert places(number(), [0.1], np.float32, (0.1,)) == ["0.1 and above"]
    assert places(number(dtype="INT64"), [2**53 + 1], np.int64, (2.0**53,)) == [f"{2.0**53!r} and above"]
    bits = np.array([0x3F80, 0x7FC0], np.uint16)  # 1 and NaN
    assert places(number(dtype="BF16"), bits, np.uint16, (1,)) == ["1 and above", "(missing)"]


def test_an_id_holds_every_features_slice() -> None:
    slices = of("k", Slicing(feature="x", edges=(15, 60)), features=[text(), number()])
    sizes = [len(item.values) for item in slices.features]
    assert sizes == [4, 4]
    ids = np.array(
        [
            1 + sum(place * item.stride for place, item in zip(chosen, slices.features, strict=True))
            for chosen in itertools.product(*map(range, sizes))
        ]
    )
    assert sorted(ids) == list(range(1, 17))
    expected = [[a, 4 + b] for a, b in itertools.product(*map(range, sizes))]
    assert slices.numbers(ids).tolist() == expected
    assert slices.numbers(np.array([0, 17, 65535])).tolist() == [[-1, -1]] * 3
    assert slices.names[4:6] == ("x=below 15", "x=15 to 60")
    assert Slices().numbers(ids).shape == (16, 0)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["y"], "no feature 'y'"),
        (["x"], "feature 'x' is numeric; say the edges"),
        ([Slicing(feature="k", edges=(1,))], "feature 'k' is categorical"),
        ([Slicing(feature="x", edges=(2, 1))], "do not increase"),
        (["k", "k"], "feature 'k' appears twice"),
        (["w"], "feature 'w' has no vocabulary"),
        (["k", "a", "b", "c"], "at most 96"),
        (["a", "b", "c", Slicing(feature="x", edges=(1, 2, 3))], "23 x 23 x 23 x 5 = 60835"),
    ],
)
def test_what_cannot_slice_is_named(said: list[Any], words: str) -> None:
    wide = [text(name, tuple(f"c{index}" for index in range(30))) for name in "abc"]
    features = [text(), number(), text("w", ()), *wide]
    if words.startswith("23"):
        assert len(of(*said, features=features).features) == 4
        said = [*said[:3], Slicing(feature="x", edges=(1, 2, 3, 4))]
        words = "23 x 23 x 23 x 6 = 73002 combinations"
    if words == "at most 96":
        said = ["a", "b", "c", Slicing(feature="x", edges=tuple(range(30)))]
    with pytest.raises(BundleError, match=words):
        of(*said, features=features)


def manifest(*inputs: TensorSpec) -> Manifest:
    return Manifest(
        format="kedge.bundle/1",
        name="m",
        version="1",
        inputs=inputs,
        outputs=(TensorSpec(name="y", dtype="FP32", shape=(-1,)),),
        batchable=True,
        files=(FileEntry(path="model/m.onnx", size=0, sha256="0" * 64, role="model"),),
    )


def test_rows_by_slice_can_be_told_from_what_the_kernel_counts() -> None:
    vocabulary = tuple(f"c{index:02d}" for index in range(70))
    features = (
        text(vocabulary=vocabulary),
        number(missing=MissingPolicy(kind="sentinel", value=-1), valid=ValidRange(min=-50, max=200)),
    )
    slices = of("k", Slicing(feature="x", edges=(-60, 0.25, 15, 60)), features=features)
    schema = Schema(features=features, slices=("k", Slicing(feature="x", edges=(-60, 0.25, 15, 60))))
    random = np.random.default_rng(3)
    x = np.concatenate([random.normal(20, 30, 3000), np.full(400, 15), np.full(300, 7), [-1] * 20]).astype(np.float32)
    x = np.clip(x, -50, 200)
    k = random.choice(np.array([*vocabulary, ""], object), len(x))
    reading = (TensorSpec(name="k", dtype="BYTES", shape=(-1,)), TensorSpec(name="x", dtype="FP32", shape=(-1,)))
    subject = reference.Subject(manifest(*reading), schema, Serving())
    known = reference.distributions(subject, {"k": k, "x": x}, None, reliability=None, conformal=None, timed=False)
    layout = layouts.build(subject.manifest, schema, known, Serving())
    later = np.concatenate([x[:500], [np.nan, np.inf, -np.inf, 60, 15, 0.25, -1, 200, -50]]).astype(np.float32)
    seen = {"k": np.concatenate([k[:500], np.array(["new", ""] * 4 + ["c01"], object)]), "x": later}
    sketch = select("reference").sketch(layout)
    sketch.observe([seen[tensor.name] for tensor in layout.tensors])
    counts = Counts.parse(sketch.snapshot(), layout)
    for index, item in enumerate(slices.features):
        expected = np.bincount(slices.places(seen)[:, index], minlength=len(item.values))
        found = slice_slots.rows(item, layout.features[index], counts.features[index].slots)
        assert found is not None
        assert found.tolist() == expected.tolist(), item.feature.name
    other = of(Slicing(feature="x", edges=(1,)), features=features).features[0]
    assert slice_slots.rows(other, layout.features[1], counts.features[1].slots) is None
