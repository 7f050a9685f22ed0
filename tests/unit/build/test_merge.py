"""Pipeline and model as one graph, and weights outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kedge.build import build, merge
from kedge.build.graph import inputs, outputs
from kedge.build.session import Session
from kedge.bundle import limits
from kedge.bundle.store import Store
from kedge.errors import SpecError

from .conftest import COLUMNS, classifier, model_of, value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.bundle.contents import Bundle


def pipeline(
    opset: int = 17, width: int = 4, names: tuple[str, ...] = COLUMNS, output: str = "features"
) -> onnx.ModelProto:
    """Inputs [N, 1] by name, joined and halved."""
    nodes = [
        helper.make_node("Concat", list(names), ["joined"], axis=1),
        helper.make_node("Mul", ["joined", "half"], [output]),
    ]
    given = [value(name, TensorProto.FLOAT, "N", 1) for name in names]
    return model_of(nodes, given, [value(output, TensorProto.FLOAT, "N", width)], {"half": np.float32(0.5)}, opset)


def run(model: onnx.ModelProto, folder: Path, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    merge.write(model, folder / "run.onnx")
    return Session(folder / "run.onnx", inputs(model, "m"), outputs(model, "m")).run(rows)


@pytest.mark.parametrize(("first", "second"), [(17, 17), (13, 17), (18, 15)])
def test_the_merged_model_answers_as_one_after_the_other(tmp_path: Path, first: int, second: int) -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=(9, 1)).astype(np.float32) for name in COLUMNS}
    parts = pipeline(first), classifier(opset=second)
    merged = merge.merge(*parts, "p", "m")
    middle = run(parts[0], tmp_path, columns)["features"]
    expected = run(parts[1], tmp_path, {"x": middle})
    got = run(merged, tmp_path, columns)
    assert [item.name for item in merged.graph.input] == list(COLUMNS)
    assert list(got) == ["label", "probabilities"]
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], rtol=1e-6)
    np.testing.assert_array_equal(got["label"], expected["label"])


def test_names_inside_may_collide(tmp_path: Path) -> None:
    merged = merge.merge(pipeline(output="missing"), classifier(), "p", "m")
    onnx.checker.check_model(merged)
    assert [item.name for item in merged.graph.input] == list(COLUMNS)


def test_an_input_that_the_pipeline_does_not_feed_stays_an_input() -> None:
    nodes = [helper.make_node("Add", ["features", "offset"], ["y"])]
    model = model_of(
        nodes,
        [value("features", TensorProto.FLOAT, "N", 4), value("offset", TensorProto.FLOAT, "N", 4)],
        [value("y", TensorProto.FLOAT, "N", 4)],
    )
    merged = merge.merge(pipeline(), model, "p", "m")
    assert [item.name for item in merged.graph.input] == [*COLUMNS, "offset"]


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (
            pipeline(width=3, names=("a", "b", "c")),
            classifier(),
            "gives 'features' FP32 [N, 3], the model takes 'x' FP32 [N, 4]",
        ),
        (
            model_of(
                [helper.make_node("Identity", ["a"], ["u"]), helper.make_node("Identity", ["a"], ["v"])],
                [value("a", TensorProto.FLOAT, "N", 4)],
                [value("u", TensorProto.FLOAT, "N", 4), value("v", TensorProto.FLOAT, "N", 4)],
            ),
            classifier(),
            "output 'u' feeds no input of the model, which takes 'x'",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(first: onnx.ModelProto, second: onnx.ModelProto, complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        merge.merge(first, second, "p.onnx", "m.onnx")
    assert complaint in str(caught.value)


def test_a_bundle_with_a_pipeline_holds_the_merged_model_and_the_part(
    folder: Path, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    onnx.save(pipeline(), folder / "pipeline.onnx")
    result = build(write_spec(pipeline="pipeline.onnx"), folder / "out.kedge")
    bundle = Store(tmp_path / "store").add(folder / "out.kedge")
    assert [spec.name for spec in bundle.manifest.inputs] == list(COLUMNS)
    assert [feature.source.tensor for feature in bundle.schema.features] == list(COLUMNS)
    assert (bundle.directory / "features/pipeline.onnx").read_bytes() == (folder / "pipeline.onnx").read_bytes()
    assert result.batchable


def external(folder: Path, locations: tuple[str, ...] = ("deep/our weights.bin",)) -> None:
    """Saves the classifier as model.onnx with its matrix in a file of its own, under each location in turn."""
    model = classifier()
    matrix = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
    data = numpy_helper.to_array(matrix).tobytes()
    for location in locations:
        path = folder / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 64 + data)
    matrix.ClearField("raw_data")
    matrix.data_location = TensorProto.EXTERNAL
    for key, text in {"location": locations[0], "offset": "64", "length": str(len(data)), "basepath": "/"}.items():
        matrix.external_data.add(key=key, value=text)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def test_external_data_becomes_plain_named_files_of_the_bundle(
    folder: Path, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    inside = build(write_spec(), folder / "inside.kedge")
    external(folder)
    outside = build(write_spec(), folder / "outside.kedge")
    bundle = Store(tmp_path / "store").add(folder / "outside.kedge")
    assert [entry.path for entry in bundle.manifest.files if entry.role == "external-data"] == ["model/our-weights.bin"]
    assert inside.metrics == outside.metrics
    assert inside.id != outside.id


def test_external_data_and_a_pipeline_go_together(
    folder: Path, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    external(folder)
    onnx.save(pipeline(), folder / "pipeline.onnx")
    build(write_spec(pipeline="pipeline.onnx"), folder / "out.kedge")
    bundle: Bundle = Store(tmp_path / "store").add(folder / "out.kedge")
    assert sorted(path.name for path in (bundle.directory / "model").iterdir()) == ["model.onnx", "our-weights.bin"]


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname"])
def test_external_data_outside_the_models_folder_is_refused(
    folder: Path, write_spec: Callable[..., Path], location: str
) -> None:
    external(folder, ("w.bin",))
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SpecError, match="is outside the model's folder"):
        build(write_spec(), folder / "out.kedge")


def test_missing_and_oversized_external_data_are_refused(
    folder: Path, write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    external(folder, ("w.bin",))
    monkeypatch.setattr(limits, "MEMBER_BYTES", 80)
    with pytest.raises(
        SpecError, match=r"external data 'w.bin' has 96 bytes, .* shard it: .*all_tensors_to_one_file=False"
    ):
        build(write_spec(), folder / "out.kedge")
    (folder / "w.bin").unlink()
    with pytest.raises(SpecError, match=r"cannot read external data 'w.bin': No such file"):
        build(write_spec(), folder / "out.kedge")
