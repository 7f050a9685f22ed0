"""The feature pipeline of the demo as an ONNX graph: 16 raw features in, one [N, 32] float32 tensor out.

It is part of the bundle, so a client sends what it knows (a carrier's code, a gust that may be missing) and a
rollback takes the feature code back together with the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kedge.demo.flights import CATEGORIES, DELAY, FEATURES, WEATHER

if TYPE_CHECKING:
    import pyarrow as pa

OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
IR_VERSION: Final = 8
WIDTH: Final = 32
OUTPUT: Final = "features"

PRIOR_FLIGHTS: Final = 50.0
"""How many average flights each carrier and destination is credited with, so that rare ones stay near the mean."""

FILL: Final = {"wind_gust": 0.0, "precip": 0.0, "visib": 10.0}
"""What an unmeasured value is taken as where the usual (median) value is not it: calm, dry and clear."""

ORIGINS: Final = ("EWR", "JFK", "LGA")


@dataclass(frozen=True)
class Encodings:
    """What the pipeline learns from training data.

    Attributes:
        rate: for ``carrier`` and ``dest``, each category's smoothed mean of the label; `mean` for one never seen.
        share: the natural logarithm of 1 + its flights a thousand; 0 for one never seen.
        fill: for each weather column, what an unmeasured value is replaced with.
        mean: the label's mean.
    """

    rate: dict[str, dict[str, float]]
    share: dict[str, dict[str, float]]
    fill: dict[str, float]
    mean: float


def learn(table: pa.Table, label: str) -> Encodings:
    """Encodings of `table` (raw features and the labels) for the column `label`."""
    y = table[label].to_numpy().astype(np.float64)
    mean = float(y.mean())
    rate: dict[str, dict[str, float]] = {}
    share: dict[str, dict[str, float]] = {}
    for name in ("carrier", "dest"):
        coded = table[name].combine_chunks().dictionary_encode()
        codes, categories = coded.indices.to_numpy(), coded.dictionary.to_pylist()
        n = np.bincount(codes, minlength=len(categories)).astype(np.float64)
        smoothed = (np.bincount(codes, y, len(categories)) + PRIOR_FLIGHTS * mean) / (n + PRIOR_FLIGHTS)
        scale = 0.1 if label == DELAY else 1.0  # minutes become tens of minutes: every feature is of order one
        rate[name] = dict(sorted(zip(categories, (smoothed * scale).tolist(), strict=True)))
        share[name] = dict(sorted(zip(categories, np.log1p(1000 * n / n.sum()).tolist(), strict=True)))
    medians = {name: float(np.nanmedian(table[name].to_numpy())) for name in WEATHER}
    return Encodings(rate, share, medians | FILL, mean * (0.1 if label == DELAY else 1.0))


def build(encodings: Encodings, *, celsius: bool = False) -> onnx.ModelProto:
    """The pipeline as a model: an input [N, 1] a raw feature (strings for categories), the output ``features``.

    Args:
        encodings: what it learnt.
        celsius: turn temperatures into degrees Celsius on the way, which no trees here were trained on: the bug that
            the demo plants.
    """
    graph = _Graph()
    columns = [*_calendar(graph), *_route(graph, encodings), *_weather(graph, encodings, celsius=celsius)]
    graph.call("Concat", *columns, output=OUTPUT, axis=1)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.STRING if name in CATEGORIES else TensorProto.FLOAT, ["N", 1])
        for name in FEATURES
    ]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", len(columns)])]
    body = helper.make_graph(graph.nodes, "flights_features", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="kedge")
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants under construction. Every method returns the name of the tensor it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def number(self, value: float) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array([[value]], np.float32), name))
        return name

    def call(self, op: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        return name

    def scaled(self, x: str, factor: float, offset: float = 0.0) -> str:
        shifted = self.call("Sub", x, self.number(offset)) if offset else x
        return self.call("Mul", shifted, self.number(factor))

    def cycle(self, x: str, period: float) -> tuple[str, str]:
        angle = self.scaled(x, 2 * math.pi / period)
        return self.call("Sin", angle), self.call("Cos", angle)

    def log1p(self, x: str) -> str:
        return self.call("Log", self.call("Add", x, self.number(1.0)))

    def flag(self, condition: str) -> str:
        return self.call("Cast", condition, to=TensorProto.FLOAT)

    def lookup(self, x: str, table: dict[str, float], default: float) -> str:
        return self.call(
            "LabelEncoder",
            x,
            domain="ai.onnx.ml",
            keys_strings=list(table),
            values_floats=list(table.values()),
            default_float=default,
        )


def _calendar(graph: _Graph) -> list[str]:
    minute, day = "sched_dep_minute", "day_of_week"
    weekend = graph.flag(graph.call("Greater", day, graph.number(4.5)))
    return [*graph.cycle(minute, 1440), graph.scaled(minute, 1 / 1440), *graph.cycle(day, 7), weekend]


def _route(graph: _Graph, encodings: Encodings) -> list[str]:
    miles = graph.scaled("distance", 1 / 1000)
    columns = [miles, graph.log1p(miles), graph.scaled("sched_duration", 1 / 240)]
    for name in ("carrier", "dest"):
        columns.append(graph.lookup(name, encodings.rate[name], encodings.mean))
        columns.append(graph.lookup(name, encodings.share[name], 0.0))
    columns.extend(graph.lookup("origin", {code: 1.0}, 0.0) for code in ORIGINS)
    return columns


def _weather(graph: _Graph, encodings: Encodings, *, celsius: bool) -> list[str]:
    absent = {name: graph.call("IsNaN", name) for name in WEATHER}
    value = {name: graph.call("Where", absent[name], graph.number(encodings.fill[name]), name) for name in WEATHER}
    if celsius:
        value |= {name: graph.scaled(value[name], 5 / 9, offset=32) for name in ("temp", "dewp")}
    sine, cosine = graph.cycle(value["wind_dir"], 360)
    return [
        graph.scaled(value["temp"], 1 / 50),
        graph.scaled(value["dewp"], 1 / 50),
        graph.scaled(graph.call("Sub", value["temp"], value["dewp"]), 1 / 50),
        graph.scaled(value["humid"], 1 / 100),
        graph.scaled(value["wind_speed"], 1 / 20),
        graph.scaled(value["wind_gust"], 1 / 20),
        graph.call("Mul", sine, graph.scaled(value["wind_speed"], 1 / 20)),
        graph.call("Mul", cosine, graph.scaled(value["wind_speed"], 1 / 20)),
        graph.log1p(graph.scaled(value["precip"], 100)),
        graph.flag(graph.call("Greater", value["precip"], graph.number(0.0))),
        graph.scaled(value["pressure"], 1 / 10, offset=1013),
        graph.scaled(value["visib"], 1 / 10),
        *(graph.flag(absent[name]) for name in ("temp", "wind_dir", "wind_gust", "pressure")),
    ]
