"""Two bundles are compared by what they say, elements of lists by their name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import making

from kedge.bundle.contents import Bundle
from kedge.bundle.diff import Change, Section, compare

if TYPE_CHECKING:
    from pathlib import Path


def bundle(directory: Path, documents: dict[str, Any] | None = None, **changes: Any) -> Bundle:
    return Bundle.read(making.lay_out(directory, making.files(documents), **changes))


def test_equal_bundles_do_not_differ(tmp_path: Path) -> None:
    assert compare(bundle(tmp_path / "a"), bundle(tmp_path / "b")) == ()


def test_an_added_feature_does_not_make_its_neighbours_differ(tmp_path: Path) -> None:
    documents = making.documents()
    features = documents["features/schema.json"]["features"]
    features.insert(0, {**features[0], "name": "height"})
    (section,) = compare(bundle(tmp_path / "a"), bundle(tmp_path / "b", documents))
    assert section.name == "schema"
    assert Change("features.height.name", None, "height") in section.changes
    assert all(change.where.startswith("features.height.") for change in section.changes)


def test_metrics_of_one_name_are_told_apart_by_slice(tmp_path: Path) -> None:
    documents = making.documents()
    metrics = documents["eval/metrics.json"]["metrics"]
    metrics.append({"name": "accuracy", "value": 0.5, "n": 10, "slice": "gate=2"})
    first = bundle(tmp_path / "a", documents)
    metrics[1]["value"] = 0.6
    (section,) = compare(first, bundle(tmp_path / "b", documents))
    assert section == Section("metrics", (Change("metrics.accuracy[gate=2].value", 0.5, 0.6),))


def test_a_part_that_only_one_has_is_a_difference(tmp_path: Path) -> None:
    documents = making.documents()
    del documents["reference/distributions.json"], documents["golden/golden.json"]
    names = [section.name for section in compare(bundle(tmp_path / "a"), bundle(tmp_path / "b", documents))]
    assert names == ["distributions", "golden"]


def test_another_model_differs_by_its_digest(tmp_path: Path) -> None:
    model = making.model()
    model.doc_string = "another"
    second = Bundle.read(making.lay_out(tmp_path / "b", making.files(model_=model), version="2"))
    identity, files = compare(bundle(tmp_path / "a"), second)
    assert identity.changes == (Change("version", "1.0.0", "2"),)
    assert [change.where for change in files.changes] == ["model/model.onnx"]
