"""Which bundle to go back to, asked of real bundles, models and rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from kedge_testing import bundles, flights, models

from kedge.bundle.contents import Bundle
from kedge.bundle.store import Store
from kedge.errors import PlaneError
from kedge.kernel.reference import ReferenceKernel
from kedge.rollout.advise import Advice, Retained, Score, advise

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

    from kedge.rollout.replay import Run, Tensors


def runner(model: str | bytes) -> Run:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(tensors: Tensors) -> Tensors:
        return dict(zip(names, session.run(names, dict(tensors)), strict=True))

    return run


def as_rows(table: Table) -> list[dict[str, NDArray[Any]]]:
    """Rows as planes keep them; text is bytes."""
    columns = {
        "temp": table["temp"].to_numpy().reshape(-1, 1),
        "distance": table["distance"].to_numpy().reshape(-1, 1),
        "carrier": np.array([text.encode() for text in table["carrier"].to_pylist()], dtype=object).reshape(-1, 1),
    }
    return [{name: column[i : i + 1] for name, column in columns.items()} for i in range(table.num_rows)]


def decoding(run: Run) -> Run:
    """ONNX Runtime's Python package takes text, planes hold bytes."""

    def text(array: NDArray[Any]) -> NDArray[Any]:
        return np.array([value.decode() for value in array.ravel()], dtype=object).reshape(array.shape)

    return lambda tensors: run({name: text(a) if a.dtype.kind == "O" else a for name, a in tensors.items()})


@pytest.fixture(scope="module")
def retained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Retained]:
    """Made for a winter of 40 degrees, and for a summer of 70."""
    root = tmp_path_factory.mktemp("advice")
    store = Store(root / "store")
    made = {
        "winter": store.add(flights.bundle(root, version="1.0.0")),
        "summer": store.add(flights.bundle(root, version="2.0.0", temp=70.0)),
    }
    return {
        name: Retained(bundle, decoding(runner(str(bundle.model_path))), last_live=float(place))
        for place, (name, bundle) in enumerate(made.items())
    }


def ask(candidates: list[Retained], rows: Table, last_good: str = "") -> Advice:
    return advise(candidates, as_rows(rows), ReferenceKernel(), last_good)


def of(advice: Advice, item: Retained) -> Score:
    return next(score for score in advice.scores if score.bundle == item.bundle.id)


def test_the_bundle_whose_reference_is_like_current_rows_is_named(retained: dict[str, Retained]) -> None:
    winter, summer = retained["winter"], retained["summer"]
    for temp, right, wrong in ((40.0, winter, summer), (70.0, summer, winter)):
        advice = ask([winter, summer], flights.rows(1500, 11, temp=temp), wrong.bundle.id)
        assert advice.best == right.bundle.id
        assert (of(advice, right).inputs.level, of(advice, wrong).inputs.level) == ("none", "critical")
        assert of(advice, wrong).inputs.worst == "temp"
        assert advice.words.startswith(f"go back to flights {right.bundle.version}: all 1,500 current rows fit it")
        assert f"better than the last good one, flights {wrong.bundle.version}" in advice.words
        assert "1 of 3 inputs moved from its reference, most 'temp'" in advice.words


def test_where_the_last_good_one_is_best_it_is_all_that_is_said(retained: dict[str, Retained]) -> None:
    winter, summer = retained["winter"], retained["summer"]
    advice = ask([summer, winter], flights.rows(1500, 12), winter.bundle.id)
    assert advice.best == winter.bundle.id
    assert "better than" not in advice.words
    assert "auc" in advice.words


def test_of_bundles_that_fit_alike_the_better_figure_wins_and_then_the_later(retained: dict[str, Retained]) -> None:
    winter = retained["winter"]
    metrics = winter.bundle.metrics.metrics
    better = replace(
        winter,
        bundle=replace(
            winter.bundle,
            id="b" * 64,
            metrics=winter.bundle.metrics.model_copy(
                update={
                    "metrics": tuple(m.model_copy(update={"value": 0.99}) if m.name == "auc" else m for m in metrics)
                }
            ),
        ),
        last_live=-1.0,
    )
    rows = flights.rows(1500, 13)
    assert ask([winter, better], rows).best == better.bundle.id
    later = replace(winter, bundle=replace(winter.bundle, id="c" * 64), last_live=99.0)
    assert ask([winter, later], rows).best == later.bundle.id


def test_a_bundle_that_current_rows_do_not_fit_comes_last_and_says_why(
    retained: dict[str, Retained], tmp_path: Any
) -> None:
    other = Bundle.read(bundles.write(bundles.Recipe(models.identity(1), "flights", "0.1"), tmp_path))
    advice = ask([Retained(other, runner(str(other.model_path))), retained["winter"]], flights.rows(800, 14))
    assert [score.version for score in advice.scores] == ["1.0.0", "0.1"]
    last = advice.scores[-1]
    assert not last.fits
    assert "0 of 800 current rows fit it: its input 'x' is not sent any more" in last.words
    assert "inputs cannot be judged" in last.words


def test_a_model_that_fails_or_gives_what_is_no_number_is_not_advised(retained: dict[str, Retained]) -> None:
    def fails(_: Tensors) -> Tensors:
        raise PlaneError("the model failed: Reshape")

    def nan(tensors: Tensors) -> Tensors:
        return {"probabilities": np.full((len(tensors["temp"]), 2), np.nan, dtype=np.float32)}

    winter = retained["winter"]
    rows = flights.rows(800, 15)
    for run, words in ((fails, "fails on current rows: the model failed: Reshape"), (nan, "predictions of")):
        advice = ask([replace(winter, run=run)], rows)
        assert advice.best is None
        assert words in advice.words
        assert advice.words.startswith("no retained bundle fits current traffic; closest: flights 1.0.0")


def test_predictions_that_moved_count_after_inputs(retained: dict[str, Retained]) -> None:
    winter = retained["winter"]
    biased = decoding(runner(flights.model(-2.0).SerializeToString()))
    shifted = replace(winter, bundle=replace(winter.bundle, id="d" * 64), run=biased, last_live=9.0)
    advice = ask([shifted, winter], flights.rows(1500, 16))
    assert advice.best == winter.bundle.id
    assert of(advice, shifted).predictions.level == "critical"
    assert of(advice, shifted).inputs.level == "none"


def test_without_rows_or_bundles_nothing_is_made_up(retained: dict[str, Retained]) -> None:
    none = advise([retained["winter"]], [], ReferenceKernel())
    assert none.best is None
    assert "no current rows are known" in none.words
    assert advise([], [], ReferenceKernel()).words == "no bundle is retained to go back to"
    few = ask([retained["winter"]], flights.rows(50, 17))
    assert few.best == retained["winter"].bundle.id
    assert "inputs cannot be judged, without a reference or on so few rows" in few.words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temp": np.zeros((1, 1), dtype=np.float64)}, "its input 'temp' is FP32, and float64 is sent"),
        ({"temp": np.zeros((1, 2), dtype=np.float32)}, "its input 'temp' is [-1, 1], and [1, 2] is sent"),
        ({"wind": np.zeros((1, 1), dtype=np.float32)}, "'wind' is sent, which it does not take"),
    ],
)
def test_rows_of_another_schema_are_named(
    retained: dict[str, Retained], change: dict[str, NDArray[Any]], words: str
) -> None:
    rows = [row | change for row in as_rows(flights.rows(20, 18))]
    (score,) = advise([retained["winter"]], rows, ReferenceKernel()).scores
    assert not score.fits
    assert words in score.words


def test_scores_fall_in_the_order_of_the_list(retained: dict[str, Retained], tmp_path: Any) -> None:
    other = Bundle.read(bundles.write(bundles.Recipe(models.identity(1), "flights", "0.1"), tmp_path))
    candidates = [Retained(other, runner(str(other.model_path))), *retained.values()]
    scores = [score.score for score in ask(candidates, flights.rows(1500, 19, temp=70.0)).scores]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert scores[-1] == 0.0
