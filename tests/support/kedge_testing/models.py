"""Small ONNX models, each with one property that a test needs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

OPSET = 17
IR = 8


def _model(
    nodes: list[onnx.NodeProto], inputs: list[object], outputs: list[object], **constants: np.ndarray
) -> onnx.ModelProto:
    graph = h.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()]
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    return model


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    """An input or output; a dimension that is a word is dynamic."""
    return h.make_tensor_value_info(name, kind, list(shape))


def identity(kind: int) -> onnx.ModelProto:
    """x [N, M] of any element type to y, unchanged."""
    return _model([h.make_node("Identity", ["x"], ["y"])], [value("x", kind, "N", "M")], [value("y", kind, "N", "M")])


def add() -> onnx.ModelProto:
    """a, b [N, 4] float32 to sum and difference [N, 4]."""
    return _model(
        [h.make_node("Add", ["a", "b"], ["sum"]), h.make_node("Sub", ["a", "b"], ["difference"])],
        [value("a", T.FLOAT, "N", 4), value("b", T.FLOAT, "N", 4)],
        [value("sum", T.FLOAT, "N", 4), value("difference", T.FLOAT, "N", 4)],
    )


def plus(amount: float) -> onnx.ModelProto:
    """x [N, 1] float32 to y = x + amount: versions that can be told apart."""
    return _model(
        [h.make_node("Add", ["x", "c"], ["y"])],
        [value("x", T.FLOAT, "N", 1)],
        [value("y", T.FLOAT, "N", 1)],
        c=np.array([amount], np.float32),
    )


def poison() -> onnx.ModelProto:
    """i [N, 1] int64 to y [N, 1] float32 = table[i]: a row outside [0, 8) makes the whole run fail."""
    return _model(
        [h.make_node("Gather", ["table", "i"], ["y"], axis=0)],
        [value("i", T.INT64, "N", 1)],
        [value("y", T.FLOAT, "N", 1)],
        table=np.arange(8, dtype=np.float32) * 10,
    )


def slow() -> onnx.ModelProto:
    """times [1] int64 to done [1, 1] float32: a loop of so many matrix products; not batchable."""
    body = h.make_graph(
        [h.make_node("MatMul", ["m", "w"], ["next"]), h.make_node("Identity", ["go"], ["again"])],
        "body",
        [value("step", T.INT64), value("go", T.BOOL), value("m", T.FLOAT, 256, 256)],
        [value("again", T.BOOL), value("next", T.FLOAT, 256, 256)],
    )
    nodes = [
        h.make_node("Squeeze", ["times"], ["count"]),
        h.make_node("Loop", ["count", "true", "w"], ["last"], body=body),
        h.make_node("ReduceMean", ["last"], ["done"]),
    ]
    return _model(
        nodes,
        [value("times", T.INT64, 1)],
        [value("done", T.FLOAT, 1, 1)],
        true=np.array(True),
        w=np.eye(256, dtype=np.float32),
    )


def slow_rows() -> onnx.ModelProto:
    """x [N, 1] float32 to y = x, and some milliseconds a run whatever N: requests pile up behind it and batch."""
    return _model(
        [
            # what depends on x cannot be computed once at load
            h.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            h.make_node("Mul", ["total", "zero"], ["none"]),
            h.make_node("Add", ["w", "none"], ["w1"]),
            h.make_node("MatMul", ["w1", "w1"], ["w2"]),
            h.make_node("MatMul", ["w2", "w1"], ["w3"]),
            h.make_node("MatMul", ["w3", "w1"], ["w4"]),
            h.make_node("ReduceMean", ["w4"], ["mean"], keepdims=0),
            h.make_node("Mul", ["mean", "zero"], ["nothing"]),
            h.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        [value("x", T.FLOAT, "N", 1)],
        [value("y", T.FLOAT, "N", 1)],
        zero=np.array(0, np.float32),
        w=np.zeros((512, 512), np.float32),
    )


def classes() -> onnx.ModelProto:
    """x [N, 2] float32 to label [N] int64 and probabilities [N, 2]: softmax of x."""
    return _model(
        [
            h.make_node("Softmax", ["x"], ["probabilities"], axis=1),
            h.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        ],
        [value("x", T.FLOAT, "N", 2)],
        [value("label", T.INT64, "N"), value("probabilities", T.FLOAT, "N", 2)],
    )


def root(*, flipped: bool = False) -> onnx.ModelProto:
    """x [N, 1] float32 to probabilities [N, 2] = 1 - sqrt(x), sqrt(x): none above 1, not even finite below 0.

    `flipped`: the two the other way round, and finite below 0 too: sqrt(|x|).
    """
    nodes = [
        h.make_node("Abs" if flipped else "Identity", ["x"], ["square"]),
        h.make_node("Sqrt", ["square"], ["p"]),
        h.make_node("Sub", ["one", "p"], ["q"]),
        h.make_node("Concat", ["p", "q"] if flipped else ["q", "p"], ["probabilities"], axis=1),
    ]
    return _model(
        nodes,
        [value("x", T.FLOAT, "N", 1)],
        [value("probabilities", T.FLOAT, "N", 2)],
        one=np.array([1], np.float32),
    )


def rotated(width: int, by: int) -> onnx.ModelProto:
    """x [N, width] float32 to y, its columns moved on by so many places."""
    order = (np.arange(width) - by) % width
    return _model(
        [h.make_node("Gather", ["x", "order"], ["y"], axis=1)],
        [value("x", T.FLOAT, "N", width)],
        [value("y", T.FLOAT, "N", width)],
        order=order,
    )


def doubled() -> onnx.ModelProto:
    """i [N, 1] int64 to y [N, 1] float32 = 2 i: takes what `poison` takes."""
    return _model(
        [h.make_node("Cast", ["i"], ["once"], to=T.FLOAT), h.make_node("Add", ["once", "once"], ["y"])],
        [value("i", T.INT64, "N", 1)],
        [value("y", T.FLOAT, "N", 1)],
    )


def quick() -> onnx.ModelProto:
    """times [1] int64 to done [1, 1] float32: takes what `slow` takes, in no time."""
    return _model(
        [
            h.make_node("Cast", ["times"], ["number"], to=T.FLOAT),
            h.make_node("Unsqueeze", ["number", "axis"], ["done"]),
        ],
        [value("times", T.INT64, 1)],
        [value("done", T.FLOAT, 1, 1)],
        axis=np.array([0]),
    )


def spread() -> onnx.ModelProto:
    """x [N, 1] float32 to y = x, sigma = |x|, low = x - 1 and high = x + 2, each [N, 1]."""
    return _model(
        [
            h.make_node("Identity", ["x"], ["y"]),
            h.make_node("Abs", ["x"], ["sigma"]),
            h.make_node("Sub", ["x", "one"], ["low"]),
            h.make_node("Add", ["x", "two"], ["high"]),
        ],
        [value("x", T.FLOAT, "N", 1)],
        [value(name, T.FLOAT, "N", 1) for name in ("y", "sigma", "low", "high")],
        one=np.array(1, np.float32),
        two=np.array(2, np.float32),
    )


def nonzero() -> onnx.ModelProto:
    """x [M] float32 to where [1, K] int64: an output whose extent depends on the data; not batchable."""
    return _model(
        [h.make_node("NonZero", ["x"], ["where"])], [value("x", T.FLOAT, "M")], [value("where", T.INT64, 1, "K")]
    )


def scalar() -> onnx.ModelProto:
    """x [] float32 to y = x * 2: no dimensions at all; not batchable."""
    return _model(
        [h.make_node("Mul", ["x", "two"], ["y"])],
        [value("x", T.FLOAT)],
        [value("y", T.FLOAT)],
        two=np.array(2, np.float32),
    )


def mixed() -> onnx.ModelProto:
    """x [N, 2] float32 to half [N, 2] float16, text [N, 2] string and y [N, 2]: an answer that has to be raw."""
    return _model(
        [
            h.make_node("Cast", ["x"], ["half"], to=T.FLOAT16),
            h.make_node("Cast", ["x"], ["text"], to=T.STRING),
            h.make_node("Identity", ["x"], ["y"]),
        ],
        [value("x", T.FLOAT, "N", 2)],
        [value("half", T.FLOAT16, "N", 2), value("text", T.STRING, "N", 2), value("y", T.FLOAT, "N", 2)],
    )


def passing(*inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Every input to an output of its name with ``_out`` after it, unchanged."""
    outputs = []
    for given in inputs:
        same = onnx.ValueInfoProto()
        same.CopyFrom(given)
        same.name = f"{given.name}_out"
        outputs.append(same)
    nodes = [h.make_node("Identity", [one.name], [two.name]) for one, two in zip(inputs, outputs, strict=True)]
    return _model(nodes, list(inputs), outputs)


def wide(columns: int) -> onnx.ModelProto:
    """x [N, 1] float32 to y [N, columns]: little is asked and much answered."""
    return _model(
        [h.make_node("MatMul", ["x", "ones"], ["y"])],
        [value("x", T.FLOAT, "N", 1)],
        [value("y", T.FLOAT, "N", columns)],
        ones=np.ones((1, columns), np.float32),
    )
