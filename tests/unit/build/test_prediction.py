"""What of the outputs is the prediction: inferred where it can be, asked for where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from kedge.build import prediction
from kedge.build.spec import Spec
from kedge.bundle.manifest import Prediction, TensorSpec
from kedge.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
LABEL = np.array([0, 1, 0])


def infer(
    outputs: dict[str, NDArray[Any]], label: list[Any] | None = None, **changes: Any
) -> tuple[str, Prediction | None]:
    kinds = {"f": "FP32", "i": "INT64", "O": "BYTES"}
    declared = [
        TensorSpec(name=name, dtype=kinds[array.dtype.kind], shape=(-1, *array.shape[1:]))
        for name, array in outputs.items()
    ]
    spec = Spec.model_validate({"name": "n", "version": "1", "model": "m"} | changes)
    return prediction.infer(spec, declared, outputs, None if label is None else pa.chunked_array([label]))


def test_label_and_probabilities_are_a_classification() -> None:
    task, found = infer({"label": LABEL, "p": P}, [0, 1, 1])
    assert task == "classification"
    assert found == Prediction(output="p", kind="probabilities", classes=("0", "1"), label_output="label")


def test_scores_that_are_no_probabilities_are_logits() -> None:
    _, found = infer({"z": np.array([[3.0, -1.0]], np.float32)}, ["no", "yes"])
    assert found == Prediction(output="z", kind="logits", classes=("no", "yes"))


def test_one_float_a_row_is_a_regression_or_the_second_of_two_classes() -> None:
    values = np.array([[0.3], [0.9]], np.float32)
    assert infer({"y": values}, [1.5, 2.5]) == ("regression", Prediction(output="y", kind="value"))
    assert infer({"y": values}, [3, 4])[0] == "regression"
    assert infer({"y": values}, ["a", "b"])[1] == Prediction(output="y", kind="probabilities", classes=("a", "b"))
    assert infer({"y": values}, [0, 1], task="classification")[1] == Prediction(
        output="y", kind="probabilities", classes=("0", "1")
    )


def test_labels_alone_are_enough_and_a_class_may_be_absent_from_the_data() -> None:
    assert infer({"label": LABEL}, [0, 1])[1] == Prediction(output="label", kind="label", classes=("0", "1"))
    three = np.eye(3, dtype=np.float32)
    found = infer({"p": three}, [0, 2])[1]
    assert found is not None
    assert found.classes == ("0", "1", "2")


def test_outputs_that_say_nothing_are_not_watched() -> None:
    assert infer({"u": P, "v": P}) == ("none", None)


@pytest.mark.parametrize(
    ("outputs", "label", "changes", "complaint"),
    [
        ({"u": P, "v": P}, ["a", "b"], {}, "prediction.output: say which output holds the scores; the model has 'u'"),
        ({"p": P}, ["a", "b", "c"], {}, "3 classes (a, b, c), but 'p' FP32 [N, 2] has 2 scores a row"),
        ({"p": P}, [0, 1], {"prediction": {"output": "q"}}, "prediction.output: the model has no output 'q'; it has p"),
        ({"p": P}, [0.5], {}, "prediction.output: say which output is the predicted value"),
        ({"p": P}, [0.5], {"prediction": {"output": "p"}}, "needs one floating value a row, not 2"),
        ({"p": P}, [0, 1], {"task": "classification", "prediction": {"kind": "value"}}, "value is for regression"),
        ({"i": LABEL}, [0, 1], {"prediction": {"kind": "logits"}}, "'i' INT64 [N] holds labels, not logits"),
        (
            {"label": np.array(["x"], object), "p": P[:1]},
            ["a", "b"],
            {},
            "output 'label' answers 'x', which is none of",
        ),
        ({"p": P}, [0, 1], {"prediction": {"classes": ["a", "a"]}}, "prediction.classes: a class appears twice"),
    ],
)
def test_what_cannot_be_told_is_asked_for(
    outputs: dict[str, NDArray[Any]], label: list[Any], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SpecError) as caught:
        infer(outputs, label, **changes)
    assert complaint in str(caught.value)


def test_classes_in_another_order_than_the_scores_are_noticed() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1], 50).astype(np.float32)
    labels = np.array(["yes", "no"], object)[p.argmax(axis=1)]
    with pytest.raises(SpecError, match="seldom names the class with the highest score"):
        infer({"label": labels, "p": p}, ["no", "yes"])
    found = infer({"label": labels, "p": p}, ["no", "yes"], prediction={"classes": ["yes", "no"]})[1]
    assert found is not None
    assert found.classes == ("yes", "no")


def test_predictions_are_read_as_the_data_plane_reads_them() -> None:
    from kedge.plane.portable.predictions import reader

    logits = np.array([[1.0, -2.0], [0.0, 3.0], [5.0, 5.0]], np.float32)
    column = logits[:, :1]
    labels = np.array([b"b", b"a", b"z"], object)
    cases = [
        (Prediction(output="o", kind="probabilities", classes=("a", "b")), {"o": P}),
        (Prediction(output="o", kind="probabilities", classes=("a", "b")), {"o": P[:, :1]}),
        (Prediction(output="o", kind="logits", classes=("a", "b")), {"o": logits}),
        (Prediction(output="o", kind="logits", classes=("a", "b")), {"o": column}),
        (Prediction(output="o", kind="logits", classes=("a", "b"), label_output="l"), {"o": logits, "l": labels}),
        (Prediction(output="l", kind="label", classes=("a", "b")), {"l": labels}),
        (Prediction(output="o", kind="value"), {"o": column}),
    ]
    for case, outputs in cases:
        read = prediction.read(case, outputs)
        classes, scores, probabilities = reader(case, list(outputs))(list(outputs.values()))
        np.testing.assert_array_equal(read.classes if classes is not None else None, classes)
        np.testing.assert_array_equal(read.scores if scores is not None else None, scores)
        assert read.probabilities == probabilities


VALUE = np.array([[0.3], [0.9]], np.float32)


def test_a_regression_may_say_how_unsure_it_is_by_sigma_or_by_bounds() -> None:
    outputs = {"y": VALUE, "s": VALUE, "t": VALUE}
    task, found = infer({"y": VALUE, "s": VALUE}, prediction={"sigma_output": "s"})
    assert (task, found) == ("regression", Prediction(output="y", kind="value", sigma_output="s"))
    bounded = Prediction(output="y", kind="value", lower_output="s", upper_output="t")
    assert infer(outputs, [1.5, 2.5], prediction={"lower_output": "s", "upper_output": "t"})[1] == bounded
    read = prediction.read(bounded, outputs)
    assert read.spread is not None
    assert read.spread.tolist() == np.concatenate([VALUE, VALUE], axis=1).tolist()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"sigma_output": "z"}, "prediction.sigma_output: the model has no output 'z'"),
        ({"lower_output": "s"}, "lower_output given; intervals need sigma_output, or lower_output and upper_output"),
        ({"sigma_output": "s", "lower_output": "s", "upper_output": "y"}, "intervals need sigma_output, or"),
        ({"sigma_output": "wide"}, "prediction.sigma_output: needs one floating value a row"),
    ],
)
def test_what_cannot_be_a_sigma_or_a_bound_is_refused(said: dict[str, str], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        infer({"y": VALUE, "s": VALUE, "wide": P[:2]}, prediction=said, task="regression")


def test_a_classification_has_no_sigma() -> None:
    with pytest.raises(SpecError, match="is for regression; a classification has sets"):
        infer(
            {"p": P, "s": P[:, :1]}, [0, 1, 1], task="classification", prediction={"output": "p", "sigma_output": "s"}
        )
