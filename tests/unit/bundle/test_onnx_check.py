"""ONNX files are checked without being run: external data stays inside the bundle, tensors are as claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import making
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kedge.bundle import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS = np.eye(2, dtype=np.float32).tobytes()


def opens(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    with verify.opened(path) as bundle:
        return bundle.name == "flights"


def with_external(external: dict[str, str], files: dict[str, bytes] | None = None) -> bytes:
    content = making.files(model_=making.model(external=external))
    return making.pack({**content, **({"model/w.bin": WEIGHTS} if files is None else files)})


def with_model(model: onnx.ModelProto, **changes: Any) -> bytes:
    return making.pack(making.files(model_=model), **changes)


def test_external_data_beside_the_model_is_accepted(tmp_path: Path) -> None:
    assert opens(tmp_path / "a", with_external({"location": "w.bin"}))
    assert opens(tmp_path / "b", with_external({"location": "w.bin", "offset": "0", "length": "16"}))
    shifted = {"model/w.bin": b"1234" + WEIGHTS}
    assert opens(tmp_path / "c", with_external({"location": "w.bin", "offset": "4", "checksum": "abc"}, shifted))


def test_external_data_may_be_sharded_over_files(tmp_path: Path, refused: Callable[[bytes], str]) -> None:
    model = making.model(external={"location": "w-1.bin"})
    second = TensorProto(name="v", data_type=TensorProto.INT4, dims=[5], data_location=TensorProto.EXTERNAL)
    second.external_data.add(key="location", value="w-2.bin")
    model.graph.initializer.append(second)
    shards = {"model/w-1.bin": WEIGHTS, "model/w-2.bin": b"123"}
    assert opens(tmp_path / "a", making.pack({**making.files(model_=model), **shards}))
    shards["model/w-2.bin"] = b"12"
    assert "bytes 0 to 3 of 'model/w-2.bin', which has 2" in refused(
        making.pack({**making.files(model_=model), **shards})
    )


@pytest.mark.parametrize(
    "location",
    [
        "",
        ".",
        "..",
        "../w.bin",
        "/etc/passwd",
        "sub/w.bin",
        "./w.bin",
        "..\\w.bin",
        "w.bin\0",
        "*/_ORT_MEM_ADDR_/*",
        "\x1b[2J",
    ],
)
def test_external_data_elsewhere_is_refused(refused: Callable[[bytes], str], location: str) -> None:
    assert "is not a plain file name" in refused(with_external({"location": location}))


def test_external_data_outside_the_manifest_is_refused(refused: Callable[[bytes], str]) -> None:
    message = refused(with_external({"location": "other.bin"}))
    assert "'model/other.bin' is not listed in bundle.json" in message
    assert "'model/w.bin' is not listed" in refused(with_external({"location": "w.bin"}, {}))


def test_the_model_file_itself_is_no_external_data(refused: Callable[[bytes], str]) -> None:
    assert "'model/model.onnx' is not listed" in refused(with_external({"location": "model.onnx"}, {}))


@pytest.mark.parametrize(
    ("external", "reason"),
    [
        ({"offset": "1"}, "bytes 1 to 17 of 'model/w.bin', which has 16"),
        ({"offset": "18446744073709551615"}, "is not a number"),
        ({"offset": "9223372036854775807"}, "which has 16"),
        ({"offset": "-1"}, "is not a number"),
        ({"offset": "0x1"}, "is not a number"),
        ({"length": "17"}, "its shape takes 16 bytes"),
        ({"length": "8"}, "its shape takes 16 bytes"),
        ({"length": ""}, "is not a number"),
        ({"length": "\u0661"}, "is not a number"),
        ({"basepath": "/etc"}, "'basepath' is unknown"),
    ],
)
def test_external_data_that_leaves_its_file_is_refused(
    refused: Callable[[bytes], str], external: dict[str, str], reason: str
) -> None:
    assert reason in refused(with_external({"location": "w.bin", **external}))


def test_a_shape_whose_product_would_take_minutes_is_refused(refused: Callable[[bytes], str]) -> None:
    model = making.model(external={"location": "w.bin"})
    model.graph.initializer[0].dims.extend([2**62] * 200_000)
    content = {**making.files(model_=model), "model/w.bin": bytes(16)}
    assert "shape cannot be external" in refused(making.pack(content))
    documents = making.documents()
    documents["golden/golden.json"]["inputs"][0]["shape"] = [2**52] * 200_000
    assert "golden/golden.json: inputs.0.shape" in refused(making.pack(making.files(documents)))


def test_external_data_that_nothing_reads_is_refused(refused: Callable[[bytes], str]) -> None:
    assert "no tensor of model/model.onnx reads" in refused(making.pack({**making.files(), "model/w.bin": WEIGHTS}))


def external_tensor() -> TensorProto:
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../secret")
    return tensor


def place(model: onnx.ModelProto, where: str) -> None:
    node = helper.make_node("Constant", [], ["c"])
    graph = helper.make_graph([node], "inner", [], [])
    if where == "constant":
        model.graph.node.append(node)
        model.graph.node[-1].attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(external_tensor())
    elif where == "tensors":
        model.graph.node[0].attribute.add(name="a", type=onnx.AttributeProto.TENSORS).tensors.append(external_tensor())
    elif where == "subgraph":
        graph.initializer.append(external_tensor())
        model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)
    elif where == "subgraphs":
        graph.initializer.append(external_tensor())
        model.graph.node[0].attribute.add(name="bodies", type=onnx.AttributeProto.GRAPHS).graphs.append(graph)
    elif where == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(external_tensor())
    elif where == "function":
        function = model.functions.add(name="f", domain="d")
        function.node.append(node)
        function.node[-1].attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(external_tensor())
    elif where == "training":
        model.training_info.add().algorithm.initializer.append(external_tensor())


@pytest.mark.parametrize("where", ["constant", "tensors", "subgraph", "subgraphs", "sparse", "function", "training"])
def test_external_data_is_found_wherever_a_tensor_can_hide(refused: Callable[[bytes], str], where: str) -> None:
    model = making.model()
    place(model, where)
    assert "'../../secret' is not a plain file name" in refused(with_model(model))


def test_what_is_no_model_is_refused(refused: Callable[[bytes], str]) -> None:
    for bad in (b"", b"not a model", making.model().SerializeToString()[:-3], b"\0" * 100):
        assert "model/model.onnx" in refused(making.pack({**making.files(), "model/model.onnx": bad}))


def test_a_model_that_the_checker_refuses_is_refused_in_one_line(refused: Callable[[bytes], str]) -> None:
    model = making.model()
    model.graph.node[0].op_type = "NoSuchOperator"
    assert "NoSuchOperator" in refused(with_model(model))
    model = making.model()
    model.graph.node[0].input[0] = "nowhere"
    message = refused(with_model(model))
    assert message.startswith("model/model.onnx")
    assert "/" not in message.replace("model/model.onnx", ""), "no path of this machine"


def test_the_graph_must_have_the_tensors_of_the_manifest(refused: Callable[[bytes], str]) -> None:
    def tensor(**changes: Any) -> list[dict[str, Any]]:
        return [{"name": "y", "dtype": "FP32", "shape": [-1, 2], **changes}]

    content = {k: v for k, v in making.files().items() if not k.startswith(("golden", "reference"))}
    for changes, reason in (
        ({"outputs": tensor(name="z")}, "no output 'y'"),
        ({"outputs": [*tensor(), *tensor(name="extra")]}, "outputs are ['y']"),
        ({"outputs": tensor(dtype="FP64")}, "output 'y' is FP32, bundle.json says FP64"),
        ({"outputs": tensor(shape=[-1, 2, 1])}, "bundle.json says [-1, 2, 1]"),
        ({"inputs": tensor(name="x", shape=[-1, 3])}, "input 'x' is [-1, 2], bundle.json says [-1, 3]"),
        (
            {"inputs": tensor(name="x", shape=[4, 2]), "batchable": False},
            "input 'x' is [-1, 2], bundle.json says [4, 2]",
        ),
    ):
        assert reason in refused(making.pack(content, **changes))


def test_an_output_may_be_said_more_precisely_than_the_graph_does(tmp_path: Path) -> None:
    model = making.model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "M"
    assert opens(tmp_path / "open-dimension", with_model(model))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = -1
    assert opens(tmp_path / "minus-one", with_model(model))


def test_an_input_with_a_default_need_not_be_sent(tmp_path: Path) -> None:
    model = making.model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 2]))
    assert opens(tmp_path / "default", with_model(model))


def test_outputs_that_are_no_tensors_are_refused(refused: Callable[[bytes], str]) -> None:
    model = making.model()
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["s"]))
    model.graph.output.append(helper.make_value_info("s", helper.make_sequence_type_proto(inner)))
    assert "'s' is a sequence_type, only dense tensors are served" in refused(with_model(model))


def test_the_pipeline_is_checked_too_and_has_no_external_data(refused: Callable[[bytes], str], tmp_path: Path) -> None:
    content = making.files()
    good = making.model().SerializeToString()
    assert opens(tmp_path / "good", making.pack({**content, "features/pipeline.onnx": good}))
    outside = making.model(external={"location": "w.bin"}).SerializeToString()
    assert "features/w.bin" in refused(making.pack({**content, "features/pipeline.onnx": outside}))
    assert "features/pipeline.onnx" in refused(making.pack({**content, "features/pipeline.onnx": b"junk"}))
