"""What is counted is what was asked and answered, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
from kedge_testing import bundles, clients, models
from kedge_testing.serving import Caller, Flights, Served, eventually, request

from kedge.bundle.manifest import (
    CategoricalReference,
    Distributions,
    Feature,
    NumericReference,
    Prediction,
    Schema,
    Serving,
    Source,
)
from kedge.kernel.contract import MISSING, SCHEMA_KINDS
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.contract import Arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.kernel.contract import Kernel


def numeric(name: str) -> NumericReference:
    return NumericReference(name=name, edges=(-1.0, 0.0, 1.0), center=0.0, scale=1.0, counts=(1,) * 32)


def watched() -> bundles.Recipe:
    """A classifier of two watched features."""
    schema = Schema(
        features=tuple(
            Feature(name=name, dtype="FP32", source=Source(tensor="x", column=column), kind="numeric")
            for column, name in enumerate(("left", "right"))
        )
    )
    return bundles.Recipe(
        models.classes(),
        "classes",
        schema=schema,
        distributions=Distributions(
            rows=32, features=(numeric("left"), numeric("right")), classes=(1, 1), scores=(numeric("s0"), numeric("s1"))
        ),
        serving=Serving(
            prediction=Prediction(
                output="probabilities", kind="probabilities", classes=("0", "1"), label_output="label"
            )
        ),
    )


def counts(served: Served, arm: Arm = Arm.LIVE) -> Counts | None:
    """Counts of the one bundle that `served` has, under an arm."""
    (bundle,) = served.stored()
    for (_, found, _), cell in cells.decode(served.plane.snapshot()).items():
        if found is arm:
            return Counts.parse(cell.counts, bundle.layout())
    return None


def ok(served: Served) -> int:
    found = counts(served)
    return 0 if found is None else int(found.status[0])


def test_inputs_predictions_and_statuses_are_counted_after_the_answer(listen: Callable[..., Served]) -> None:
    served = listen()
    served.serve(watched())
    caller = Caller(served.address)
    x = np.array([[-0.5, 0.5], [np.nan, 0.5], [0.5, -0.5], [5.0, np.inf]], np.float32)
    caller.infer(request("classes", ("x", "FP32", x)))
    caller.infer(request("classes", ("x", "FP32", x[:1])))
    eventually(lambda: ok(served) == 2)
    found = counts(served)
    assert found is not None
    assert found.rows == 5
    left, right = found.features
    assert left.slots[:2].tolist() == [2, 1]
    assert left.slots[MISSING] == 1
    assert right.slots[:2].tolist() == [1, 3]
    assert found.classes.sum() == 5
    assert found.classes[:2].tolist()[1] >= 2
    assert found.latency_queue.sum() == 2
    assert found.latency_run.sum() == 2


def test_violations_are_counted_by_input_and_kind(listen: Callable[..., Served]) -> None:
    served = listen()
    served.serve(watched())
    caller = Caller(served.address)
    good = np.zeros((1, 2), np.float32)
    for bad in (
        request("classes"),
        request("classes", ("x", "FP64", np.zeros((1, 2)))),
        request("classes", ("x", "FP32", np.zeros((1, 3), np.float32))),
        request("classes", ("x", "FP32", good), ("z", "FP32", good)),
    ):
        assert caller.refusal(bad)[0] is grpc.StatusCode.INVALID_ARGUMENT
    caller.infer(request("classes", ("x", "FP32", good)))
    eventually(lambda: ok(served) == 1)
    found = counts(served)
    assert found is not None
    assert dict(zip(SCHEMA_KINDS, found.schema[0].tolist(), strict=True)) == {
        "missing": 1,
        "mistyped": 1,
        "misshaped": 1,
    }
    assert found.schema_unknown == 1
    assert found.status[grpc.StatusCode.INVALID_ARGUMENT.value[0]] == 4


def test_rows_of_the_reservoir_are_rows_that_were_asked(listen: Callable[..., Served]) -> None:
    served = listen()
    (handle,) = served.serve(watched())
    caller = Caller(served.address)
    for start in range(0, 300, 3):
        x = np.arange(start, start + 3, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
        caller.infer(request("classes", ("x", "FP32", x)))
    eventually(lambda: len(served.plane.reservoir(handle)) == 300)
    rows = served.plane.reservoir(handle)
    assert sorted(float(row["x"].ravel()[0]) for row in rows) == [float(value) for value in range(300)]


def test_ten_thousand_flights_are_counted_exactly_as_the_kernel_counts_them(flights: Flights, kernel: Kernel) -> None:
    served, bundle = flights.served, flights.bundle
    layout = bundle.layout()

    def live() -> Counts:
        total = Counts.zero(layout)
        for (_, arm, _), cell in cells.decode(served.plane.snapshot()).items():
            total = total + Counts.parse(cell.counts, layout) if arm is Arm.LIVE else total
        return total

    before = live()
    types = {spec.name: spec.dtype for spec in bundle.manifest.outputs}
    clients.ask("grpcio", served.address, bundle.name, flights.inputs, types, form="raw", batch=100)
    eventually(lambda: live().rows - before.rows == 10_000)
    seen = live() - before
    alone = kernel.sketch(layout)
    alone.observe([flights.inputs[tensor.name][1] for tensor in layout.tensors])
    expected = Counts.parse(alone.snapshot(), layout)
    for feature, mine, theirs in zip(layout.features, seen.features, expected.features, strict=True):
        assert mine.slots.tolist() == theirs.slots.tolist(), feature.name
        assert (mine.sum_q, mine.sum_q2) == (theirs.sum_q, theirs.sum_q2)
    prediction = bundle.serving.prediction
    assert prediction is not None
    probabilities = flights.expected[prediction.output]
    assert seen.classes[:2].tolist() == np.bincount(probabilities.argmax(axis=1), minlength=2).tolist()
    assert seen.status[0] == 100


def test_categories_reach_the_kernel(listen: Callable[..., Served]) -> None:
    served = listen()
    schema = Schema(
        features=(
            Feature(name="c", dtype="BYTES", source=Source(tensor="x"), kind="categorical", vocabulary=("DL", "UA")),
        )
    )
    reference = Distributions(rows=2, features=(CategoricalReference(name="c", counts=(1,) * 64),))
    import onnx

    model = models.identity(onnx.TensorProto.STRING)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[1].ClearField("dim_param")
        value.type.tensor_type.shape.dim[1].dim_value = 1
    served.serve(bundles.Recipe(model, "text", schema=schema, distributions=reference))
    caller = Caller(served.address)
    array = np.array([[b"UA"], [b"DL"], [b"UA"], [b"XX"]], dtype=object)
    for form in ("raw", "typed"):
        caller.infer(request("text", ("x", "BYTES", array), form=form))
    eventually(lambda: ok(served) == 2)
    found = counts(served)
    assert found is not None
    assert found.features[0].slots[:2].tolist() == [2, 4]
    assert found.features[0].slots[61] == 2
