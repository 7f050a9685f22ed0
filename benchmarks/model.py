"""The benchmark model and its bundles: 100 trees of depth 4, [N, 32] float32 in, label and probabilities out.

    python -m benchmarks.model DIRECTORY

writes model.onnx, the data and two bundles of it: `watched.kedge`, with reference data of all 32 features and the
predictions, and `unwatched.kedge`, without, so that the cost of monitoring can be measured. Beside them `slow.onnx` and
`slow.kedge`, a model of more than 10 ms a run, served by one executor without batching. Same seed, same bundles.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from onnx import TensorProto, helper, numpy_helper

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from kedge.build import build
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED: Final = 7
TREES: Final = 100
DEPTH: Final = 4
FEATURES: Final = 32
TRAINING_ROWS: Final = 4_000
REFERENCE_ROWS: Final = 20_000
NAME: Final = "bench"
INPUT: Final = "x"
OUTPUTS: Final = ("label", "probabilities")
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Files:
    """Where everything is.

    Attributes:
        model: the ONNX file.
        watched, unwatched: bundles of it, with and without reference data.
        slow_model, slow: the slow model and its bundle.
    """

    model: Path
    watched: Path
    unwatched: Path
    slow_model: Path
    slow: Path


def make(directory: Path) -> Files:
    """Train, export and build into `directory`; what a directory has already is kept."""
    files = Files(
        directory / "model.onnx",
        directory / "watched.kedge",
        directory / "unwatched.kedge",
        directory / "slow.onnx",
        directory / "slow.kedge",
    )
    directory.mkdir(parents=True, exist_ok=True)
    if not files.model.exists():
        onnx.save(_train(), files.model)
    onnx.save(_slow(), files.slow_model)
    data = directory / "reference.parquet"
    if not data.exists():
        x = rows(REFERENCE_ROWS)
        columns = {f"x{index:02}": x[:, index] for index in range(FEATURES)} | {"label": _labels(x)}
        pq.write_table(pa.table(columns), data)
    spec: dict[str, Any] = {"name": NAME, "version": "1", "model": files.model.name}
    known = {"data": {"reference": data.name, "label": "label"}}
    alone = {"batching": {"max_batch": 1}, "execution": {"mode": "pool", "instances": 1, "intra_op_threads": 1}}
    slow = spec | {"model": files.slow_model.name, "serving": alone}
    for archive, facts in ((files.watched, spec | known), (files.unwatched, spec), (files.slow, slow)):
        # Always anew: an archive of an older Kedge must not be what is measured.
        path = archive.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(facts, sort_keys=False))
        archive.unlink(missing_ok=True)
        build(path, archive)
    return files


def rows(count: int) -> NDArray[np.float32]:
    """[count, 32] float32, normal, fixed seed: the first rows are the same whatever the count."""
    return np.random.default_rng(SEED).normal(size=(count, FEATURES)).astype(np.float32)


def request() -> bytes:
    """A serialized ModelInferRequest of one row, in raw form, as clients send it."""
    message = pb.ModelInferRequest(model_name=NAME, raw_input_contents=[rows(1).astype("<f4").tobytes()])
    message.inputs.add(name=INPUT, datatype="FP32", shape=[1, FEATURES])
    return message.SerializeToString()


def _labels(x: NDArray[np.float32]) -> NDArray[np.int64]:
    """A label that takes trees to learn: products of features, and noise."""
    noise = np.random.default_rng(SEED + 1).normal(size=len(x))
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + np.abs(x[:, 3]) - 0.8 + x[:, 4:12].sum(axis=1) / 4 + noise
    labels: NDArray[np.int64] = (score > 0).astype(np.int64)
    return labels


def _slow() -> onnx.ModelProto:
    """[N, 32] to [N, 1] by products of 512 x 512 matrices, a quarter of a GFLOP each: small in memory, long to run."""
    side, products = 512, 10
    weights = np.random.default_rng(SEED).normal(size=(side, side)).astype(np.float32) / np.float32(np.sqrt(side))
    constants = {
        "columns": np.array([2], np.int64),
        "spread": weights[:1],
        "mix": weights[:, :FEATURES],
        "weights": weights,
        "both": np.array([1, 2], np.int64),
        "flat": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", [INPUT, "columns"], ["column"]),
        helper.make_node("Mul", ["column", "spread"], ["wide"]),
        helper.make_node("MatMul", ["mix", "wide"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{index}", "weights"], [f"m{index + 1}"]) for index in range(products)),
        helper.make_node("ReduceMean", [f"m{products}", "both"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "flat"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSETS[""])], ir_version=8)


def _train() -> onnx.ModelProto:
    from skl2onnx import to_onnx  # noqa: PLC0415 - seconds of import, for the first run alone
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType  # noqa: PLC0415
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415

    x = rows(TRAINING_ROWS)
    trees = GradientBoostingClassifier(n_estimators=TREES, max_depth=DEPTH, subsample=0.5, random_state=SEED)
    trees.fit(x, _labels(x))
    model: onnx.ModelProto = to_onnx(
        trees,
        initial_types=[(INPUT, FloatTensorType([None, FEATURES]))],
        final_types=[(OUTPUTS[0], Int64TensorType([None])), (OUTPUTS[1], FloatTensorType([None, 2]))],
        options={id(trees): {"zipmap": False}},
        target_opset=dict(OPSETS),
    )
    return model


if __name__ == "__main__":
    for file in vars(make(Path(sys.argv[1]))).values():
        print(file)
