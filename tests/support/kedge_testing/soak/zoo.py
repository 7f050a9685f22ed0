"""What the soak serves: four models in two versions, rows to ask about, and what onnxruntime answers to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from kedge.build import build
from kedge.bundle.store import Store
from kedge_testing import flights
from kedge_testing.models import value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle

ROWS: Final = 512
"""Of the table that requests take their rows from."""
FEATURES: Final = 8
VERSIONS: Final = ("1.0.0", "2.0.0")
OWNERS: Final = "owners: {data: d@x, feature: f@x, model: m@x, platform: p@x}\n"
TREES, FLIGHTS, SLOW, DECOY = "trees", "flights", "slow", "decoy"
COMPARED: Final = (TREES, FLIGHTS, SLOW)
"""Models whose every request is accounted for; `DECOY` is there for clients that do not wait for their answer."""


@dataclass(frozen=True, eq=False)
class Version:
    """One bundle: its archive, and what it answers to every row of its model's table, by output."""

    bundle: Bundle
    archive: Path
    expected: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Model:
    """A model of the zoo.

    Attributes:
        inputs: the table of rows, [ROWS, C] by input name.
        versions: by version.
        tolerance: absolute; 0 where every batch size computes the same bits.
        labels: what to report as true for each row; None where the model takes no labels.
    """

    name: str
    inputs: Mapping[str, NDArray[Any]]
    versions: Mapping[str, Version]
    tolerance: float
    labels: tuple[str | float, ...] | None

    def take(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Inputs of a request for these rows of the table."""
        return {name: array[rows] for name, array in self.inputs.items()}

    def wrong(self, version: str, rows: NDArray[np.int64], outputs: Mapping[str, NDArray[Any]]) -> str:
        """What is wrong with an answer of that version; empty if it is what onnxruntime gives."""
        known = self.versions.get(version)
        if known is None:
            return f"an answer of version '{version}', which does not exist"
        for name, table in known.expected.items():
            want, got = table[rows], outputs.get(name)
            if got is None or got.shape != want.shape:
                return f"output {name} {None if got is None else got.shape}, expected {want.shape}"
            exact = want.dtype == object
            if not (np.array_equal(got, want) if exact else np.allclose(got, want, rtol=0, atol=self.tolerance)):
                return f"output {name} of {self.name} {version}: {got.ravel()[:4]}, expected {want.ravel()[:4]}"
        return ""


@dataclass(frozen=True, eq=False)
class Zoo:
    """All models, by name and by bundle id."""

    models: Mapping[str, Model]

    def archives(self, version: str) -> list[Path]:
        return [model.versions[version].archive for model in self.models.values()]

    def of(self, identity: str) -> tuple[Model, str]:
        """Model and version of a bundle id."""
        for model in self.models.values():
            for version, one in model.versions.items():
                if one.bundle.id == identity:
                    return model, version
        raise KeyError(identity)


def make(root: Path, seed: int) -> Zoo:
    """Build every bundle under `root`."""
    chance = np.random.default_rng(seed)
    matrix = chance.normal(size=(ROWS, FEATURES)).astype(np.float32)
    matrix[chance.random(matrix.shape) < 0.01] = np.nan
    one = flights.rows(ROWS, seed)
    columns = {
        "temp": one["temp"].to_numpy()[:, None],
        "distance": one["distance"].to_numpy()[:, None],
        "carrier": np.array(one["carrier"].to_pylist(), object)[:, None],
    }
    slow_rows = {"x": chance.integers(0, 1000, (ROWS, 1)).astype(np.float32)}
    store = Store(root / "known")

    def model(name: str, inputs: Mapping[str, Any], tolerance: float, labels: Any = None) -> Model:
        found = {}
        for number, version in enumerate(VERSIONS):
            archive = _build(root, name, version, number)
            bundle = store.add(archive)
            session = onnxruntime.InferenceSession(bundle.model_path)
            answers = [_encoded(answer) for answer in session.run(None, dict(inputs))]
            expected = dict(zip([output.name for output in session.get_outputs()], answers, strict=True))
            found[version] = Version(bundle, archive, expected)
        first, second = (found[version].expected for version in VERSIONS)
        words = [output for output, answer in first.items() if answer.dtype == object]
        assert all((first[output] != second[output]).all() for output in words), f"{name}: words of both versions alike"
        numbers = first.keys() - set(words)
        apart = [np.abs(first[output] - second[output]).reshape(ROWS, -1).max(axis=1) for output in numbers]
        assert (np.max(apart, axis=0) > 10 * tolerance).all(), f"versions of {name} cannot be told apart by every row"
        return Model(name, inputs, found, tolerance, labels)

    return Zoo(
        {
            TREES: model(TREES, {"x": matrix}, 0.0, tuple(map(float, chance.normal(size=ROWS)))),
            FLIGHTS: model(FLIGHTS, columns, 1e-6, tuple(map(str, chance.integers(0, 2, ROWS)))),
            SLOW: model(SLOW, slow_rows, 0.0),
            DECOY: model(DECOY, {"x": matrix}, 0.0),
        }
    )


def _build(root: Path, name: str, version: str, number: int) -> Path:
    if name == FLIGHTS:
        return flights.bundle(root, name, version, bias=0.25 * number)
    stem = f"{name}-{version}"
    onnx.save(trees(number) if name in (TREES, DECOY) else slow(number), root / f"{stem}.onnx")
    random = np.random.default_rng(3)
    if name == SLOW:
        table = pa.table({"x": random.integers(0, 1000, 3000).astype(np.float32)})
        label = ""
    else:
        known = random.normal(size=(4000, FEATURES)).astype(np.float32)
        table = pa.table({f"f{i}": known[:, i] for i in range(FEATURES)} | {"y": known[:, 0] + known[:, 1]})
        label = ", label: y"
    pq.write_table(table, root / f"{stem}.parquet")
    spec = root / f"{stem}.yaml"
    spec.write_text(
        f"name: {name}\nversion: {version}\nmodel: {stem}.onnx\ndata: {{reference: {stem}.parquet{label}}}\n{OWNERS}"
    )
    build(spec, root / f"{stem}.kedge")
    return root / f"{stem}.kedge"


def _encoded(answer: NDArray[Any]) -> NDArray[Any]:
    """An output as clients read it: text as UTF-8."""
    if answer.dtype != object:
        return answer
    return np.array([word.encode() for word in answer.ravel()], object).reshape(answer.shape)


def trees(number: int) -> onnx.ModelProto:
    """x [N, FEATURES] float32 to y [N, 1]: thirty trees of depth 3, sums exact in any order, plus `number`.

    Beside it word [N, 1] string, one of eight by what y is in 64ths: 0 to 245 bytes, none in both versions.
    """
    random, inner, depth = np.random.default_rng(11), 7, 30
    ids = [tree for tree in range(depth) for _ in range(2 * inner + 1)]
    nodes = list(range(2 * inner + 1)) * depth
    is_leaf = [node >= inner for node in nodes]
    leaves = [(tree, node) for tree, node, leaf in zip(ids, nodes, is_leaf, strict=True) if leaf]
    ensemble = h.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, post_transform="NONE",
        base_values=[float(number)], nodes_treeids=ids, nodes_nodeids=nodes,
        nodes_featureids=[0 if leaf else int(random.integers(FEATURES)) for leaf in is_leaf],
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        nodes_values=[0.0 if leaf else float(random.normal()) for leaf in is_leaf],
        nodes_truenodeids=[0 if leaf else 2 * node + 1 for node, leaf in zip(nodes, is_leaf, strict=True)],
        nodes_falsenodeids=[0 if leaf else 2 * node + 2 for node, leaf in zip(nodes, is_leaf, strict=True)],
        target_treeids=[tree for tree, _ in leaves], target_nodeids=[node for _, node in leaves],
        target_ids=[0] * len(leaves), target_weights=[int(random.integers(-8, 9)) / 64 for _ in leaves],
    )  # fmt: skip
    words = [("\u00e5" * 5 if number else "") + letter * (35 - 5 * number) * k for k, letter in enumerate("abcdefgh")]
    nodes_of_word = [
        h.make_node("Mul", ["y", "parts"], ["scaled"]),
        h.make_node("Cast", ["scaled"], ["whole"], to=T.INT64),
        h.make_node("Mod", ["whole", "words"], ["number"]),
        h.make_node("LabelEncoder", ["number"], ["word"], domain="ai.onnx.ml", keys_int64s=[*range(8)],
                    values_strings=words, default_string="none of them"),
    ]  # fmt: skip
    return _model(
        [ensemble, *nodes_of_word],
        [value("x", T.FLOAT, "N", FEATURES)],
        [value("y", T.FLOAT, "N", 1), value("word", T.STRING, "N", 1)],
        {"parts": np.array(64, np.float32), "words": np.array(8, np.int64)},
    )


def slow(number: int) -> onnx.ModelProto:
    """x [N, 1] float32 to y = x + 1 + number, some ten milliseconds a run: the plane runs it on its pool."""
    nodes = [
        # what depends on x cannot be computed once at load
        h.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        h.make_node("Mul", ["total", "zero"], ["none"]),
        h.make_node("Add", ["w", "none"], ["w0"]),
        *(h.make_node("MatMul", [f"w{i}", "w0"], [f"w{i + 1}"]) for i in range(3)),
        h.make_node("ReduceMean", ["w3"], ["mean"], keepdims=0),
        h.make_node("Mul", ["mean", "zero"], ["nothing"]),
        h.make_node("Add", ["x", "nothing"], ["z"]),
        h.make_node("Add", ["z", "c"], ["y"]),
    ]
    constants = {
        "zero": np.array(0, np.float32), "w": np.zeros((512, 512), np.float32), "c": np.array([1 + number], np.float32)
    }  # fmt: skip
    return _model(nodes, [value("x", T.FLOAT, "N", 1)], [value("y", T.FLOAT, "N", 1)], constants)


def _model(nodes: Any, inputs: Any, outputs: Any, constants: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    opsets = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)]
    made = h.make_model(h.make_graph(nodes, "soak", inputs, outputs, tensors), opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(made)
    return made
