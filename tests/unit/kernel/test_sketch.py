"""What a sketch refuses, and everything it counts besides feature values."""

import threading

import numpy as np
import pytest

from kedge.errors import KernelError, SnapshotError
from kedge.kernel import contract as c
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor
from kedge.kernel.snapshot import Counts

NUMERIC = NumericFeature("n", 0, 0, (0.0, 1.0))
CATEGORY = CategoricalFeature("c", 1, 0, ("a",))
INPUTS = Layout((Tensor("x", 2), Tensor("w", 1), Tensor("image", 4, summary=True)), (NUMERIC, CATEGORY))
X, W, IMAGE = np.zeros((3, 2), np.float32), np.array(["a", "b", "a"], object), np.zeros((3, 2, 2))
CLASSES = Layout(
    classes=3,
    scores=(NumericFeature("s1", 0, 1, (0.0, 0.5, 1.0)),),
    reliability_edges=(0.5, 0.9),
    schema_inputs=("x", "w"),
)


def counts(sketch):
    return Counts.parse(sketch.snapshot(), sketch.layout)


def test_rows_are_counted(kernel):
    sketch = kernel.sketch(INPUTS)
    sketch.observe([X, W, IMAGE])
    sketch.observe((X[:1], W[:1].reshape(1, 1), IMAGE[:1].reshape(1, 4)))
    sketch.observe([X[:0], W[:0], IMAGE[:0]])
    assert counts(sketch).rows == 4
    assert counts(sketch).features[1].slots[0] == 3


REFUSED = {
    "got 2 tensors": [X, W],
    "tensor 'x' is a list": [X.tolist(), W, IMAGE],
    "tensor 'x' has dtype complex128": [X.astype(complex), W, IMAGE],
    "tensor 'x' has dtype datetime64": [X.astype("M8[s]"), W, IMAGE],
    "tensor 'x' has shape [3, 1]": [X[:, :1], W, IMAGE],
    "tensor 'x' has shape [3, 2, 1]": [X[..., None], W, IMAGE],
    "tensor 'x' has shape []": [np.float32(1)[...], W, IMAGE],
    "tensor 'w' has 2 rows": [X, W[:2], IMAGE],
    "tensor 'w' holds a int": [X, np.array(["a", 1, "b"], object), IMAGE],
    "tensor 'w' holds a NoneType": [X, np.array(["a", None, "b"], object), IMAGE],
    "tensor 'w' holds a str that is not valid": [X, np.array(["a", "\ud800", "b"], object), IMAGE],
    "tensor 'image' has shape [3, 3]": [X, W, IMAGE[:, 0, :1].repeat(3, axis=1)],
    "tensor 'image' is a summary": [X, W, IMAGE.astype(object)],
    "feature 'n' is numeric": [np.full((3, 2), "a"), W, IMAGE],
}


@pytest.mark.parametrize("what", REFUSED)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_counted(kernel, what):
    sketch = kernel.sketch(INPUTS)
    before = sketch.snapshot()
    with pytest.raises(KernelError) as caught:
        sketch.observe(REFUSED[what])
    assert what in str(caught.value)
    assert sketch.snapshot() == before
    sketch.observe([X, W, IMAGE])
    assert counts(sketch).rows == 3


IDS = np.array([0, 2])
P = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32)
BAD_PREDICTIONS = [
    (IDS.astype(float), P, False),
    (np.stack([IDS, IDS]), P, False),
    (IDS[:1], P, False),
    (IDS, P[:, :2], False),
    (IDS, P.astype(int), False),
    (IDS, None, True),
    (IDS.tolist(), P, False),
    (IDS, P.tolist(), False),
]


@pytest.mark.parametrize("case", range(len(BAD_PREDICTIONS)))
def test_predictions_that_do_not_fit_are_refused_and_nothing_is_counted(kernel, case):
    classes, scores, probabilities = BAD_PREDICTIONS[case]
    sketch = kernel.sketch(CLASSES)
    before = sketch.snapshot()
    with pytest.raises(KernelError):
        sketch.observe_predictions(classes, scores, probabilities=probabilities)
    assert sketch.snapshot() == before


def test_class_ids_need_a_layout_with_classes(kernel):
    sketch = kernel.sketch(Layout())
    with pytest.raises(KernelError, match="no classes"):
        sketch.observe_predictions(IDS, None)
    with pytest.raises(KernelError, match="probabilities need"):
        sketch.observe_predictions(None, P[:, 0], probabilities=True)


def test_predictions_and_confidence_fall_where_the_contract_says(kernel):
    sketch = kernel.sketch(CLASSES)
    p = np.array([[0.125, 0.125, 0.75], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [np.nan, 0.0, 1.0], [1.5, -0.5, 0.0]])
    sketch.observe_predictions(np.array([2, 0, 7, -1, 1]), p, probabilities=True)
    got = counts(sketch)
    assert got.classes.tolist() == [1, 1, 1, 2]
    assert np.nonzero(got.top)[0].tolist() == [10, 15, 19, c.CONFIDENCE_INVALID]
    assert np.nonzero(got.margin)[0].tolist() == [0, 12, 19, c.CONFIDENCE_INVALID]
    assert got.entropy[0] == 1
    assert got.entropy[c.CONFIDENCE_INVALID] == 2
    assert got.reliability_n.tolist() == [0, 2, 1]
    assert got.reliability_p.tolist() == [0, 5 * 2**30, 2**32]
    assert got.reliability_v.tolist() == [0, 3 * 2**28 + 2**30, 0]
    assert got.scores[0].rows == 5


def test_scores_that_are_not_probabilities_leave_confidence_alone(kernel):
    sketch = kernel.sketch(CLASSES)
    sketch.observe_predictions(None, P)
    assert counts(sketch).top.sum() == 0
    assert counts(sketch).scores[0].rows == 2


def test_latency_has_exact_small_and_logarithmic_large_buckets(kernel):
    sketch = kernel.sketch(Layout())
    sketch.observe_batch(np.array([-5, 0, 63, 64, 127, 128, 129, 2**36, 2**37, 2**62]), -1, 1)
    queue = counts(sketch).latency_queue
    assert {int(i): int(queue[i]) for i in np.nonzero(queue)[0]} == {
        0: 2,
        63: 1,
        64: 1,
        127: 1,
        128: 2,
        1984: 1,
        2047: 2,
    }
    assert counts(sketch).latency_run[0] == 1


def test_run_time_is_kept_by_batch_size(kernel):
    sketch = kernel.sketch(Layout())
    sizes = [1, 2, 3, 4, 5, 512, 513, 1024, 1025, 10**6]
    for rows in sizes:
        sketch.observe_batch(np.array([1, 2, 3, 4])[::2], 1000, rows)
    assert counts(sketch).latency_run_by_size.sum(axis=1).tolist() == [1, 1, 2, 1, 0, 0, 0, 0, 0, 1, 2, 2]
    assert counts(sketch).latency_queue.sum() == 2 * len(sizes)


def test_batches_that_make_no_sense_are_refused(kernel):
    sketch = kernel.sketch(Layout())
    for queue, rows in ((np.zeros(1), 1), (np.zeros((1, 1), np.int64), 1), (np.zeros(1, np.int64), 0)):
        with pytest.raises(KernelError):
            sketch.observe_batch(queue, 5, rows)
    assert counts(sketch) == Counts.zero(Layout())


def test_statuses_outside_the_table_are_unknown(kernel):
    sketch = kernel.sketch(Layout())
    for code in (0, 16, 17, -1):
        sketch.observe_status(code, 2)
    assert counts(sketch).status.tolist() == [2, 0, 4, *[0] * 13, 2]
    with pytest.raises(KernelError):
        sketch.observe_status(0, -1)


def test_schema_violations_are_counted_by_name_and_kind(kernel):
    sketch = kernel.sketch(CLASSES)
    sketch.observe_schema("missing", "x")
    sketch.observe_schema("misshaped", "w")
    sketch.observe_schema("unknown", "whatever")
    assert counts(sketch).schema.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert counts(sketch).schema_unknown == 1
    for kind, name in (("missing", "y"), ("lost", "x")):
        with pytest.raises(KernelError, match="no counter"):
            sketch.observe_schema(kind, name)


def test_merging_adds_and_resetting_forgets(kernel):
    sketch, other = kernel.sketch(INPUTS), kernel.sketch(INPUTS)
    sketch.observe([X, W, IMAGE])
    other.observe([X + 1, W, IMAGE])
    both = counts(sketch) + counts(other)
    sketch.merge(counts(other))
    assert counts(sketch) == both
    with pytest.raises(SnapshotError):
        sketch.merge(Counts.zero(CLASSES))
    sketch.reset()
    assert counts(sketch) == Counts.zero(INPUTS)


def test_sums_survive_millions_of_rows(kernel):
    """Past 2**22 rows the native kernel moves its floating sums to integers."""
    layout = Layout((Tensor("x", 1),), (NumericFeature("x", 0, 0, (0.0, 1.0), scale=1e9),))
    if kernel.name == "reference":
        pytest.skip("one row at a time is what the reference does; millions take it a minute")
    sketch = kernel.sketch(layout)
    x = np.full(3 * 2**20, 5.0, np.float32)
    for _ in range(3):
        sketch.observe([x])
    found = counts(sketch).features[0]
    assert (found.sum_q, found.sum_q2) == (9 * 2**20 * 2**15, 9 * 2**20 * 2**30)


def test_the_native_kernel_counts_without_the_gil_and_refuses_a_second_writer(kernel):
    if kernel.name != "native":
        pytest.skip("the kernels written in Python cannot be entered twice")
    layout = Layout((Tensor("x", 8),), (NumericFeature("x", 0, 0, (0.0, 1.0)),))
    sketch = kernel.sketch(layout)
    x = np.broadcast_to(np.ones(8, np.float32), (3_000_000, 8))
    refused, runs = None, 0
    while refused is None and runs < 20:  # a run may be over before this thread has its turn
        counting = threading.Thread(target=sketch.observe, args=([x],))
        counting.start()
        runs += 1
        while refused is None and counting.is_alive():
            try:
                sketch.observe_status(0)
            except KernelError as error:
                refused = error
        counting.join()
    assert "two threads use one sketch" in str(refused)
    assert counts(sketch).rows == runs * 3_000_000


def test_writers_on_many_threads_need_no_lock_when_each_has_its_own_sketch(kernel):
    layout = Layout((Tensor("x", 8),), tuple(NumericFeature(f"x{i}", 0, i, (0.0, 0.5, 1.0)) for i in range(8)))
    x = np.random.default_rng(0).random((1500, 8), np.float32)
    sketches = [kernel.sketch(layout) for _ in range(4)]
    threads = [threading.Thread(target=lambda s=s: [s.observe([x]) for _ in range(10)]) for s in sketches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(counts(s) == counts(sketches[0]) for s in sketches)
    assert counts(sketches[0]).rows == 15000
