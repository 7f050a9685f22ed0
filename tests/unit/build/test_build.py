"""Whole builds: what is inferred, measured and recorded, and what is refused with nothing written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from kedge.build import STAGES, build
from kedge.build.session import Session
from kedge.bundle import conformal, golden
from kedge.bundle.store import Store
from kedge.errors import SpecError
from kedge.kernel.contract import MISSING

from .conftest import COLUMNS, classifier, model_of, regressor, table, value

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle

WriteSpec = Callable[..., Path]


def opened(archive: Path) -> Bundle:
    """The bundle as a server would open it: every hostile-input check passes."""
    return Store(archive.with_suffix(".store")).add(archive)


def test_the_smallest_spec_gives_a_bundle_that_opens(folder: Path, write_spec: WriteSpec) -> None:
    stages: list[str] = []
    result = build(write_spec(), folder / "out.kedge", progress=stages.append)
    bundle = opened(folder / "out.kedge")
    assert bundle.id == result.id
    assert (result.task, result.batchable, result.notes) == ("classification", True, ())
    assert result.rows == {"reference": 2000, "calibration": 400, "evaluation": 400}
    assert [(feature.name, feature.source.column) for feature in bundle.schema.features] == list(
        zip(COLUMNS, range(4), strict=False)
    )
    assert bundle.serving.prediction is not None
    assert bundle.serving.prediction.label_output == "label"
    assert {metric.name for metric in result.metrics} == {
        "accuracy",
        "balanced_accuracy",
        "log_loss",
        "brier",
        "auc",
        "ece",
    }
    assert len(stages) == STAGES


def test_the_reference_counts_every_row_once(folder: Path, write_spec: WriteSpec) -> None:
    build(write_spec(), folder / "out.kedge")
    found = opened(folder / "out.kedge").distributions
    assert found is not None
    missing = int(np.isnan(table()["d"].to_numpy()).sum())
    assert [sum(feature.counts) for feature in found.features] == [2000] * 4
    assert found.features[3].counts[MISSING] == missing > 0
    assert sum(found.classes) == sum(found.top) == sum(found.margin) == sum(found.entropy) == 2000
    assert [sum(score.counts) for score in found.scores] == [2000, 2000]
    assert found.reliability is not None
    assert sum(found.reliability.n) == 400
    assert found.conformal is not None
    assert (found.conformal.score, found.conformal.n) == ("lac", 400)


def test_golden_rows_hold_what_the_model_answers_and_rows_with_something_missing(
    folder: Path, write_spec: WriteSpec
) -> None:
    build(write_spec(), folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    assert bundle.golden is not None
    rows = {tensor.name: golden.decode(tensor) for tensor in bundle.golden.inputs}
    assert 8 <= len(rows["x"]) <= 16
    assert np.isnan(rows["x"]).any()
    answers = Session(bundle.model_path, bundle.manifest.inputs, bundle.manifest.outputs).run(rows)
    for tensor in bundle.golden.outputs:
        np.testing.assert_array_equal(golden.decode(tensor), answers[tensor.name])


def test_two_builds_are_the_same_bytes_wherever_they_are_made(
    folder: Path, write_spec: WriteSpec, tmp_path: Path
) -> None:
    spec = write_spec(lineage={"code_commit": "abc", "training_run": "7"})
    (tmp_path / "elsewhere").mkdir()
    build(spec, folder / "one.kedge")
    build(spec, tmp_path / "elsewhere" / "two.kedge")
    assert (folder / "one.kedge").read_bytes() == (tmp_path / "elsewhere" / "two.kedge").read_bytes()


def test_data_in_another_file_format_gives_the_same_measurements(folder: Path, write_spec: WriteSpec) -> None:
    import pyarrow.feather

    first = build(write_spec(), folder / "one.kedge")
    pyarrow.feather.write_feather(pq.read_table(folder / "data.parquet"), folder / "data.feather")
    second = build(write_spec(data={"reference": "data.feather", "label": "label"}), folder / "two.kedge")
    assert first.metrics == second.metrics
    assert opened(folder / "one.kedge").distributions == opened(folder / "two.kedge").distributions


def test_without_data_only_schema_latency_and_errors_are_watched(folder: Path, write_spec: WriteSpec) -> None:
    result = build(write_spec(data=None), folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    assert result.notes == ("no data: only schema, latency and errors are watched",)
    assert bundle.distributions is None
    assert bundle.golden is not None
    assert bundle.manifest.batchable
    assert bundle.layout().features == ()
    assert bundle.layout().schema_inputs == ("x",)


def test_without_a_label_inputs_and_predictions_are_watched_and_nothing_is_measured(
    folder: Path, write_spec: WriteSpec
) -> None:
    result = build(write_spec(data={"reference": "data.parquet"}, features=list(COLUMNS)), folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    assert result.metrics == ()
    assert result.notes == ("no label: metrics, calibration and conformal scores are not measured",)
    assert bundle.distributions is not None
    assert sum(bundle.distributions.classes) == 2000
    assert bundle.distributions.conformal is None


def test_a_regression_is_told_from_its_label(folder: Path, write_spec: WriteSpec) -> None:
    onnx.save(regressor(), folder / "model.onnx")
    data = table().select([*COLUMNS, "value"]).set_column(3, "d", pa.array(np.zeros(2000)))
    pq.write_table(data, folder / "data.parquet")
    result = build(write_spec(data={"reference": "data.parquet", "label": "value"}), folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    assert result.task == "regression"
    assert {metric.name for metric in result.metrics} == {"mae", "rmse", "r2", "bias"}
    assert bundle.distributions is not None
    assert bundle.distributions.conformal is not None
    assert bundle.distributions.conformal.score == "absolute"
    assert [sum(score.counts) for score in bundle.distributions.scores] == [2000]


def unsure() -> Any:
    """The regressor with its own bounds around y: y - 1 and y + 2; and s, how unsure it is."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Sub", ["y", "one"], ["low"]),
        helper.make_node("Add", ["y", "two"], ["high"]),
        helper.make_node("Sub", ["high", "low"], ["s"]),
    ]
    weights = numpy_helper.to_array(regressor().graph.initializer[0])
    return model_of(
        nodes,
        [value("x", TensorProto.FLOAT, "N", 4)],
        [value(name, TensorProto.FLOAT, "N", 1) for name in ("y", "low", "high", "s")],
        {"w": weights, "one": np.float32(1), "two": np.float32(2)},
    )


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ({"sigma_output": "s"}, "scaled"),
        ({"lower_output": "low", "upper_output": "high"}, "quantile"),
    ],
)
def test_what_a_regression_says_of_its_own_error_is_calibrated(
    folder: Path, write_spec: WriteSpec, said: dict[str, str], score: str
) -> None:
    onnx.save(unsure(), folder / "model.onnx")
    data = table().select([*COLUMNS, "value"]).set_column(3, "d", pa.array(np.zeros(2000)))
    pq.write_table(data, folder / "data.parquet")
    build(
        write_spec(data={"reference": "data.parquet", "label": "value"}, prediction={"output": "y", **said}),
        folder / "out.kedge",
    )
    bundle = opened(folder / "out.kedge")
    assert bundle.distributions is not None
    assert bundle.distributions.conformal is not None
    assert bundle.distributions.conformal.score == score
    limit = conformal.threshold(bundle.distributions, bundle.serving.confidence.alpha)
    assert limit is not None
    fresh = {name: table(seed=2)[name].to_numpy() for name in ("a", "b", "c", "value")}
    truth = fresh["value"]
    x = np.stack([fresh["a"], fresh["b"], fresh["c"], np.zeros(2000)], axis=1).astype(np.float32)
    answers = Session(bundle.model_path, bundle.manifest.inputs, bundle.manifest.outputs).run({"x": x})
    y, low, high, s = (answers[name][:, 0] for name in ("y", "low", "high", "s"))
    spread = s if score == "scaled" else np.stack([low, high], axis=1)
    lower, upper = conformal.intervals(score, y, spread, limit)
    covered = np.mean((lower <= truth) & (truth <= upper))
    assert 0.9 - 4 * np.sqrt(0.09 * (1 / 400 + 1 / 2000)) < covered < 1


def test_natural_variation_is_measured_where_rows_have_a_time(folder: Path, write_spec: WriteSpec) -> None:
    rows = 40_000
    season = np.sin(np.arange(rows) * 2 * np.pi / rows)
    rng = np.random.default_rng(4)
    columns = {"a": season + 0.1 * rng.normal(size=rows)} | {name: rng.normal(size=rows) for name in ("b", "c", "d")}
    pq.write_table(
        pa.table(columns | {"label": (season > 0).astype(int), "t": np.arange(rows)}), folder / "data.parquet"
    )
    data = {"reference": "data.parquet", "label": "label"}
    build(write_spec(data=data | {"time": "t"}), folder / "timed.kedge")
    build(write_spec(data=data, features=list(COLUMNS)), folder / "untimed.kedge")
    timed, untimed = (opened(folder / f"{name}.kedge").distributions for name in ("timed", "untimed"))
    assert timed is not None
    assert untimed is not None
    seasonal, *flat = (feature.natural_variation for feature in timed.features)
    assert seasonal > 1
    assert max(flat) < 0.05
    assert timed.scores[0].natural_variation > 0.1
    assert {feature.natural_variation for feature in untimed.features} == {0.0}


def test_slices_are_measured_apart(folder: Path, write_spec: WriteSpec) -> None:
    data = table().select([*COLUMNS, "label"])
    pq.write_table(data.set_column(3, "d", pa.array(np.arange(2000.0) % 2)), folder / "data.parquet")
    slices = ["d", {"feature": "a", "edges": [-0.5, 0.5]}]
    result = build(write_spec(features={"d": {"kind": "categorical"}}, slices=slices), folder / "out.kedge")
    whole = next(m for m in result.metrics if m.name == "accuracy" and m.slice is None)
    parts = {m.slice: m for m in result.metrics if m.name == "accuracy" and m.slice is not None}
    numbers = {"a=below -0.5", "a=-0.5 to 0.5", "a=0.5 and above"}
    assert set(parts) == {"d=0", "d=1"} | numbers
    for names in ({"d=0", "d=1"}, numbers):
        right = sum(part.n * part.value for name, part in parts.items() if name in names)
        assert right == pytest.approx(whole.n * whole.value)


def test_a_failed_gate_writes_nothing_unless_that_is_allowed(folder: Path, write_spec: WriteSpec) -> None:
    spec = write_spec(gates=["auc >= 0.5", "auc >= 0.999"])
    result = build(spec, folder / "out.kedge")
    assert (result.id, result.path, [gate.passed for gate in result.gates]) == (None, None, [True, False])
    assert sorted(path.name for path in folder.iterdir()) == ["data.parquet", "model.onnx", "spec.yaml"]
    assert build(spec, folder / "out.kedge", allow_failed_gates=True).id is not None
    assert [gate.passed for gate in opened(folder / "out.kedge").gates.gates] == [True, False]


def test_a_model_of_one_row_a_run_is_measured_row_by_row_and_not_batchable(folder: Path, write_spec: WriteSpec) -> None:
    model = model_of(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)],
        [value("x", TensorProto.FLOAT, 1, 4)],
        [value("y", TensorProto.FLOAT, 1, 1)],
    )
    onnx.save(model, folder / "model.onnx")
    pq.write_table(table(200).select([*COLUMNS[:3], "when", "value"]), folder / "data.parquet")
    result = build(write_spec(data={"reference": "data.parquet", "label": "value"}), folder / "out.kedge")
    assert not result.batchable
    assert opened(folder / "out.kedge").manifest.inputs[0].shape == (1, 4)


def test_a_model_whose_rows_touch_each_other_is_not_batchable(folder: Path, write_spec: WriteSpec) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    model = model_of(nodes, [value("x", TensorProto.FLOAT, "N", 1)], [value("y", TensorProto.FLOAT, "N", 1)], opset=13)
    onnx.save(model, folder / "model.onnx")
    pq.write_table(table(200).select(["a", "value"]), folder / "data.parquet")
    data = {"reference": "data.parquet", "label": "value"}
    assert not build(write_spec(data=data), folder / "out.kedge").batchable


def test_wide_inputs_are_watched_by_summary(folder: Path, write_spec: WriteSpec) -> None:
    model = model_of(
        [helper.make_node("ReduceMean", ["image"], ["y"], axes=[1, 2], keepdims=0)],
        [value("image", TensorProto.FLOAT, "N", 3, 4)],
        [value("y", TensorProto.FLOAT, "N")],
        opset=13,
    )
    onnx.save(model, folder / "model.onnx")
    pixels = np.random.default_rng(0).random((300, 12)).astype(np.float32)
    image = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 12)
    pq.write_table(pa.table({"image": image, "value": pixels.mean(axis=1)}), folder / "data.parquet")
    build(write_spec(data={"reference": "data.parquet", "label": "value"}), folder / "out.kedge")
    found = opened(folder / "out.kedge").distributions
    assert found is not None
    assert [feature.name for feature in found.features] == [
        f"image.{what}" for what in ("mean", "std", "norm", "min", "max")
    ]
    assert {sum(feature.counts) for feature in found.features} == {300}


def test_the_card_owners_and_lineage_are_passed_through(folder: Path, write_spec: WriteSpec) -> None:
    (folder / "card.md").write_text("# A model\n")
    (folder / "lock.txt").write_text("numpy==2\n")
    spec = write_spec(
        card="card.md", owners={"data": "d@example.org"}, lineage={"environment": "lock.txt"}, parent="a" * 64
    )
    build(spec, folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    assert (bundle.directory / "docs/modelcard.md").read_text() == "# A model\n"
    assert bundle.manifest.owners.data == "d@example.org"
    assert bundle.provenance.environment_sha256 is not None
    assert bundle.manifest.parent == bundle.provenance.parent == "a" * 64
    assert "onnxruntime" in bundle.provenance.packages


def test_provenance_speaks_slsa_and_names_everything_that_was_used(folder: Path, write_spec: WriteSpec) -> None:
    build(write_spec(lineage={"code_commit": "ab" * 20, "training_run": "run-7"}), folder / "out.kedge")
    bundle = opened(folder / "out.kedge")
    said = json.loads((bundle.directory / "lineage/provenance.json").read_bytes())
    assert said.keys() == {"buildDefinition", "runDetails"}
    definition, details = said["buildDefinition"], said["runDetails"]
    assert definition.keys() == {"buildType", "externalParameters", "resolvedDependencies"}
    assert definition["externalParameters"]["spec"]["name"] == bundle.name
    assert definition["externalParameters"]["trainingRun"] == bundle.provenance.training_run == "run-7"
    used = {one["name"]: one for one in definition["resolvedDependencies"]}
    model = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert used["model"] == {"name": "model", "uri": "model.onnx", "digest": {"sha256": model}}
    assert used["code"]["digest"] == {"gitCommit": "ab" * 20}
    assert {one.sha256 for one in bundle.snapshots.snapshots} <= {one["digest"].get("sha256") for one in used.values()}
    assert details.keys() == {"builder"}
    assert details["builder"].keys() == {"id", "version"}
    assert (bundle.directory / "docs/modelcard.md").read_text().startswith(f"# {bundle.name} {bundle.version}\n")


def zipmap() -> Any:
    """As skl2onnx exports a classifier unless told otherwise: the probabilities a sequence of maps."""
    model = classifier()
    model.graph.node.append(
        helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[1].CopyFrom(helper.make_value_info("maps", helper.make_sequence_type_proto(kind)))
    return model


def test_a_zipmap_output_is_refused_with_the_option_that_avoids_it(folder: Path, write_spec: WriteSpec) -> None:
    onnx.save(zipmap(), folder / "model.onnx")
    with pytest.raises(SpecError) as caught:
        build(write_spec(), folder / "out.kedge")
    assert "output 'maps' is a sequence" in str(caught.value)
    assert "options={id(model): {'zipmap': False}}" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "absent.onnx"}, "cannot read model 'absent.onnx': No such file"),
        ({"model": "spec.yaml"}, "model 'spec.yaml' is not an ONNX file"),
        ({"pipeline": "absent.onnx"}, "cannot read model 'absent.onnx': No such file"),
        ({"card": "absent.md"}, "card: cannot read 'absent.md': No such file"),
        ({"lineage": {"environment": "absent"}}, "lineage.environment: cannot read 'absent'"),
        ({"data": {"reference": "absent.csv"}}, "cannot read data file 'absent.csv'"),
        (
            {"data": {"reference": "data.parquet", "label": "lable"}},
            (
                "data.label: data file 'data.parquet' has no column 'lable'; it has a, b, c, d, label; "
                "did you mean 'label'?"
            ),
        ),
        (
            {"data": {"reference": "data.parquet"}},
            "takes 4 features, the data gives 5: a, b, c, d, label; if one of them is the label, name it as data.label",
        ),
        ({"data": {"reference": "data.parquet", "label": "zzz"}, "features": list(COLUMNS)}, "data.label: data file"),
        ({"data": {"reference": "data.parquet", "label": "label", "time": "zzz"}}, "data.time: data file"),
        ({"data": None, "gates": ["auc >= 0.5"]}, "gates: needs data to be measured on"),
        ({"gates": ["f1 >= 0.5"]}, "gates[0]: no metric 'f1' was measured; there are accuracy, "),
        ({"slices": ["zzz"]}, "slices: there is no feature 'zzz'"),
        ({"slices": ["a"]}, "slices: feature 'a' is numeric; say the edges it is cut at, such as {feature: a, edges:"),
        ({"slices": [{"feature": "a", "edges": [1, 1]}]}, "slices: feature 'a' has edges that do not increase"),
        ({"slices": [{"feature": "a", "edges": list(range(95))}]}, "97 together; at most 96 are reported apart"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(
    folder: Path, write_spec: WriteSpec, changes: dict[str, Any], complaint: str
) -> None:
    spec = write_spec(**changes)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(SpecError) as caught:
        build(spec, folder / "out.kedge")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_model_that_disagrees_with_the_data_says_both(folder: Path, write_spec: WriteSpec) -> None:
    onnx.save(classifier(7), folder / "model.onnx")
    with pytest.raises(
        SpecError, match=r"input 'x' FP32 \[N, 7\] takes 7 features, the data gives 4: a, b, c, d; list"
    ):
        build(write_spec(), folder / "out.kedge")


def test_a_prediction_that_is_not_finite_is_refused(folder: Path, write_spec: WriteSpec) -> None:
    onnx.save(regressor(), folder / "model.onnx")  # it passes the missing values of d on
    pq.write_table(table().select([*COLUMNS, "value"]), folder / "data.parquet")
    with pytest.raises(
        SpecError, match=r"the model's prediction is not finite on .* rows of 'data.parquet', first on row"
    ):
        build(write_spec(data={"reference": "data.parquet", "label": "value"}), folder / "out.kedge")


def test_an_output_folder_that_does_not_exist_is_named(folder: Path, write_spec: WriteSpec) -> None:
    with pytest.raises(SpecError, match=r"the folder '.*absent' does not exist"):
        build(write_spec(), folder / "absent" / "out.kedge")
