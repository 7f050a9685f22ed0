"""Write the models the C++ tests run: `make_models.py DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h


def save(directory: Path, name: str, nodes: list, inputs: list, outputs: list, *constants: onnx.TensorProto) -> None:
    graph = h.make_graph(nodes, name, inputs, outputs, list(constants))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, directory / f"{name}.onnx")


def main(directory: Path) -> None:
    value = h.make_tensor_value_info
    save(
        directory,
        "neg",  # y = -x and the sum of each row
        [h.make_node("Neg", ["x"], ["y"]), h.make_node("ReduceSum", ["x", "axis"], ["total"], keepdims=0)],
        [value("x", T.FLOAT, ["n", 4])],
        [value("y", T.FLOAT, ["n", 4]), value("total", T.FLOAT, ["n"])],
        onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"),
    )
    save(
        directory,
        "text",  # y = x, strings
        [h.make_node("Identity", ["x"], ["y"])],
        [value("x", T.STRING, ["n"])],
        [value("y", T.STRING, ["n"])],
    )
    save(
        directory,
        "pick",  # fails for an index outside 0..9
        [h.make_node("Gather", ["table", "i"], ["y"])],
        [value("i", T.INT64, ["n"])],
        [value("y", T.FLOAT, ["n"])],
        onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32) * 10, "table"),
    )
    save(
        directory,
        "nonzero",  # an output whose shape depends on the data
        [h.make_node("NonZero", ["x"], ["where"])],
        [value("x", T.FLOAT, ["n"])],
        [value("where", T.INT64, [1, "k"])],
    )
    every = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FLOAT16", "BFLOAT16",
             "FLOAT", "DOUBLE"]  # fmt: skip
    save(
        directory,
        "every",  # one input and output of each number type, unchanged
        [h.make_node("Identity", [f"i{name}"], [f"o{name}"]) for name in every],
        [value(f"i{name}", getattr(T, name), ["n", 2]) for name in every],
        [value(f"o{name}", getattr(T, name), ["n", 2]) for name in every],
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    main(folder)
