"""Snapshots: what they carry, and how damaged or foreign bytes are refused."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from kedge.errors import SnapshotError
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor
from kedge.kernel.latency import latency_bucket, latency_lower
from kedge.kernel.snapshot import HEADER, Counts
from kedge.kernel.state import layout_digest, state_of

GOLDEN = Path(__file__).parent / "golden" / "snapshot-v1.bin.gz"
LAYOUT = Layout(
    tensors=(Tensor("x", 2), Tensor("origin", 1), Tensor("image", 6, summary=True)),
    features=(
        NumericFeature(
            "temp", 0, 0, (-10.0, 0.0, 10.0, 20.0), atoms=(0.0,), valid_min=-60.0, valid_max=60.0, scale=16.0
        ),
        NumericFeature("wind", 0, 1, (0.0, 5.0, 10.0), missing=-1.0),
        CategoricalFeature("origin", 1, 0, ("JFK", "EWR"), other=("LGA",), missing=""),
        NumericFeature("brightness", 2, 0, (0.0, 0.5, 1.0), scale=256.0),
    ),
    classes=2,
    scores=(NumericFeature("late", 0, 1, (0.0, 0.25, 0.5, 0.75, 1.0), scale=1024.0),),
    reliability_edges=(0.75,),
    schema_inputs=("x", "origin"),
)


def filled(kernel):
    sketch = kernel.sketch(LAYOUT)
    x = np.array([[0.0, 5.0], [12.5, -1.0], [math.nan, math.inf], [99.0, 2.0]], np.float32)
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) / 24
    sketch.observe([x, np.array([b"JFK", b"LGA", b"", b"SFO"], object), image])
    p = np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0], [0.9, 0.2]])
    sketch.observe_predictions(np.array([0, 0, 1, 2]), p[:, ::-1], probabilities=True)
    sketch.observe_batch(np.array([100, 20_000, 3_000_000]), 750_000, 4)
    sketch.observe_status(0, 4)
    sketch.observe_status(3)
    sketch.observe_schema("missing", "origin")
    sketch.observe_schema("unknown", "y")
    return sketch


def test_golden_bytes_of_version_1_are_what_every_kernel_writes(kernel):
    golden = gzip.decompress(GOLDEN.read_bytes())
    assert filled(kernel).snapshot() == golden
    assert Counts.parse(golden, LAYOUT).to_bytes() == golden


def test_golden_bytes_of_version_1_are_read_back():
    counts = Counts.parse(gzip.decompress(GOLDEN.read_bytes()), LAYOUT)
    assert counts.rows == 4
    assert counts.features[0].slots.tolist() == [0, 0, 1, *[0] * 17, 1, *[0] * 6, 1, 0, 0, 0, 1]
    assert (counts.features[0].sum_q, counts.features[0].maximum) == (200, 12.5)
    assert counts.features[2].slots[[0, 60, 61, 62]].tolist() == [1, 1, 1, 1]
    assert counts.classes.tolist() == [2, 1, 1]
    assert counts.status[[0, 3]].tolist() == [4, 1]
    assert counts.schema.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert counts.latency_run_by_size[2, latency_bucket(750_000)] == 1


def test_a_snapshot_read_by_another_kernel_continues_it(kernel):
    golden = Counts.parse(gzip.decompress(GOLDEN.read_bytes()), LAYOUT)
    sketch = filled(kernel)
    sketch.merge(golden)
    assert Counts.parse(sketch.snapshot(), LAYOUT) == golden + golden


def test_every_length_but_the_right_one_is_refused(kernel):
    data = filled(kernel).snapshot()
    for wrong in (b"", data[:3], data[: HEADER.size], data[:-1], data[:-8], data + b"\0", data + bytes(8)):
        with pytest.raises(SnapshotError):
            Counts.parse(wrong, LAYOUT)


def test_any_damaged_header_byte_is_refused(kernel):
    data = filled(kernel).snapshot()
    for position in range(HEADER.size):
        with pytest.raises(SnapshotError):
            Counts.parse(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :], LAYOUT)


def test_another_version_is_named(kernel):
    data = bytearray(filled(kernel).snapshot())
    struct.pack_into("<H", data, 4, 2)
    with pytest.raises(SnapshotError, match="version 2"):
        Counts.parse(bytes(data), LAYOUT)


def test_another_layout_is_refused(kernel):
    with pytest.raises(SnapshotError, match="another layout"):
        Counts.parse(filled(kernel).snapshot(), Layout())


def spoil(data, *, word=None, bound=None, value=0):
    changed = bytearray(data)
    state = state_of(LAYOUT)
    at = HEADER.size + 8 * (word if bound is None else state.words + bound)
    struct.pack_into("<q" if bound is None else "<d", changed, at, value)
    return bytes(changed)


def test_values_that_cannot_have_been_counted_are_refused(kernel):
    data = filled(kernel).snapshot()
    temp = state_of(LAYOUT).features[0]
    cases = [
        spoil(data, word=0, value=-1),
        spoil(data, word=0, value=2**53 + 1),
        spoil(data, word=temp.slots.start, value=-(2**63)),
        spoil(data, word=temp.sum_q, value=3 * 2**15),
        spoil(data, word=temp.sum_q2, value=-1),
        spoil(data, word=temp.sum_q2, value=3 * 2**30),
        spoil(data, bound=0, value=math.nan),
        spoil(data, bound=0, value=math.inf),
        spoil(data, bound=0, value=50.0),
        spoil(data, bound=1, value=math.inf),
    ]
    for case in cases:
        with pytest.raises(SnapshotError, match="damaged"):
            Counts.parse(case, LAYOUT)


def test_a_window_is_the_later_snapshot_minus_the_earlier(kernel):
    sketch = filled(kernel)
    earlier = Counts.parse(sketch.snapshot(), LAYOUT)
    sketch.observe([np.full((2, 2), 7.0), np.array(["EWR", "EWR"], object), np.ones((2, 6))])
    window = Counts.parse(sketch.snapshot(), LAYOUT) - earlier
    assert window.rows == 2
    assert window.features[2].slots[1] == 2
    assert window.features[0].n == 2
    assert window.status.sum() == 0
    assert (window.scores[0].minimum, window.scores[0].maximum) == (math.inf, -math.inf)
    with pytest.raises(SnapshotError, match="earlier"):
        _ = earlier - Counts.parse(sketch.snapshot(), LAYOUT)


def test_counts_of_two_layouts_never_mix():
    for mix in (Counts.__add__, Counts.__sub__):
        with pytest.raises(SnapshotError, match="never mix"):
            mix(Counts.zero(LAYOUT), Counts.zero(Layout()))


def test_counts_cannot_be_written_to(kernel):
    counts = Counts.parse(filled(kernel).snapshot(), LAYOUT)
    with pytest.raises(ValueError, match="read-only"):
        counts.features[0].slots[0] = 1


def test_the_digest_covers_everything_that_gives_a_counter_its_meaning():
    def feature(**change):
        return NumericFeature(**{"name": "x", "tensor": 0, "column": 0, "edges": (0.0, 1.0)} | change)

    changes = [{}, {"name": "y"}, {"edges": (0.0, 2.0)}, {"atoms": (0.5,)}, {"valid_min": 0.0}, {"valid_max": 1.0}]
    changes += [{"missing": None}, {"missing": 0.0}, {"center": 1.0}, {"scale": 2.0}]
    layouts = [Layout((Tensor("t", 1),), (feature(**change),)) for change in changes]
    layouts += [Layout((Tensor("u", 1),), (feature(),)), Layout((Tensor("t", 2),), (feature(),)), Layout()]
    layouts += [Layout(classes=2), Layout(classes=2, reliability_edges=(0.5,)), Layout(schema_inputs=("t",))]
    assert len({layout_digest(layout) for layout in layouts}) == len(layouts)
    assert layout_digest(Layout((Tensor("t", 1),), (feature(edges=(-0.0, 1.0)),))) == layout_digest(layouts[0])


def test_latency_buckets_are_half_open_and_at_most_1_6_percent_wide():
    lower = latency_lower()
    assert [latency_bucket(int(value)) for value in lower] == list(range(2048))
    assert [latency_bucket(int(value) - 1) for value in lower[1:]] == list(range(2047))
    widths = np.diff(lower[64:]) / lower[64:-1]
    assert widths.max() <= 1 / 64
