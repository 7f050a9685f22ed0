"""A small real bundle, built as a user builds one: two numeric features, one of text, two classes, a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from kedge.build import build

if TYPE_CHECKING:
    from pathlib import Path

CARRIERS = ("UA", "DL", "B6", "AA")
SLOW_TEMP = 30_000.0
"""A temperature that keeps a `slow` model busy for about two seconds; ordinary ones take no time."""


def model(bias: float = 0.0, *, slow: bool = False) -> onnx.ModelProto:
    """temp, distance [N, 1] float32 and carrier [N, 1] text to probabilities [N, 2]; `slow`: see `SLOW_TEMP`."""
    nodes = [
        h.make_node("LabelEncoder", ["carrier"], ["code"], domain="ai.onnx.ml", keys_strings=CARRIERS,
                    values_floats=[0.1, 0.2, 0.3, 0.4], default_float=0.0),
        h.make_node("IsNaN", ["temp"], ["unknown"]),
        h.make_node("Where", ["unknown", "usual", "temp"], ["known"]),
        h.make_node("Mul", ["known", "w"], ["heat"]),
        h.make_node("Mul", ["distance", "v"], ["far"]),
        h.make_node("Sum", ["heat", "far", "code", "bias"], ["logit"]),
        h.make_node("Sigmoid", ["logit"], ["late"]),
        h.make_node("Sub", ["one", "late"], ["ontime"]),
        h.make_node("Concat", ["ontime", "late"], ["probabilities" if not slow else "fast"], axis=1),
    ]  # fmt: skip
    constants = {
        "w": np.array(0.03, np.float32),
        "v": np.array(-0.0005, np.float32),
        "usual": np.array(40, np.float32),
        "bias": np.array(bias, np.float32),
        "one": np.array(1, np.float32),
    }
    if slow:
        body = h.make_graph(
            [h.make_node("MatMul", ["m", "square"], ["next"]), h.make_node("Identity", ["go"], ["again"])],
            "body",
            [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, []),
             h.make_tensor_value_info("m", T.FLOAT, [128, 128])],
            [h.make_tensor_value_info("again", T.BOOL, []), h.make_tensor_value_info("next", T.FLOAT, [128, 128])],
        )  # fmt: skip
        nodes += [
            h.make_node("ReduceMax", ["known"], ["hottest"], keepdims=0),
            h.make_node("Sub", ["hottest", "ordinary"], ["excess"]),
            h.make_node("Relu", ["excess"], ["loops"]),
            h.make_node("Cast", ["loops"], ["times"], to=T.INT64),
            h.make_node("Loop", ["times", "true", "square"], ["last"], body=body),
            h.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
            h.make_node("Mul", ["mean", "zero"], ["nothing"]),
            h.make_node("Add", ["fast", "nothing"], ["probabilities"]),
        ]
        constants |= {
            "ordinary": np.array(1000, np.float32),
            "true": np.array(True),
            "square": np.zeros((128, 128), np.float32),
            "zero": np.array(0, np.float32),
        }
    graph = h.make_graph(
        nodes,
        "flights",
        [h.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in
         (("temp", T.FLOAT), ("distance", T.FLOAT), ("carrier", T.STRING))],
        [h.make_tensor_value_info("probabilities", T.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    result = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 2)], ir_version=8)
    onnx.checker.check_model(result)
    return result


def rows(count: int, seed: int, *, temp: float = 40.0) -> pa.Table:
    """Flights with their label; `temp` is the mean temperature, its deviation 12."""
    random = np.random.default_rng(seed)
    heat = random.normal(temp, 12.0, count).astype(np.float32)
    heat[random.random(count) < 0.02] = np.nan
    late = (random.random(count) < 0.3).astype(np.int64)
    return pa.table(
        {
            "temp": heat,
            "distance": random.choice([200.0, 500.0, 1000.0, 2500.0], count).astype(np.float32),
            "carrier": random.choice(CARRIERS, count, p=[0.4, 0.3, 0.2, 0.1]),
            "late": late,
        }
    )


def bundle(
    root: Path,
    name: str = "flights",
    version: str = "1.0.0",
    *,
    bias: float = 0.0,
    slow: bool = False,
    temp: float = 40.0,
    alone: bool = False,
) -> Path:
    """Build a bundle from a spec, on data of that mean temperature; returns the archive. `alone`: rows never batch."""
    root.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}"
    onnx.save(model(bias, slow=slow), root / f"{stem}.onnx")
    pq.write_table(rows(6000, 7, temp=temp), root / f"{stem}.parquet")
    (root / f"{stem}.yaml").write_text(
        f"name: {name}\nversion: {version}\nmodel: {stem}.onnx\ndata:\n  reference: {stem}.parquet\n  label: late\n"
        + ("serving:\n  batching:\n    max_batch: 1\n" if alone else "")
    )
    out = root / f"{stem}.kedge"
    build(root / f"{stem}.yaml", out)
    return out
