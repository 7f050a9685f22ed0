"""Where an archive may be written: never over a folder, a device or a file it is made from; told before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from kedge.build import build
from kedge.errors import SpecError

from .conftest import classifier

WriteSpec = Callable[..., Path]


def refused(spec: Path, out: Path) -> str:
    """What `build` says of `out`, having begun nothing and changed nothing."""
    files = [path for path in spec.parent.iterdir() if path.is_file()]
    before = {path.name: path.read_bytes() for path in files}
    stages: list[str] = []
    with pytest.raises(SpecError) as caught:
        build(spec, out, progress=stages.append)
    assert stages == []
    assert {path.name: path.read_bytes() for path in spec.parent.iterdir() if path.is_file()} == before
    return str(caught.value)


@pytest.mark.parametrize("out", [".", "", "..", "/", "folder"])
def test_a_folder_is_refused(folder: Path, write_spec: WriteSpec, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (folder / "folder").mkdir()
    monkeypatch.chdir(folder)
    assert refused(write_spec(), Path(out)) == f"'-o {Path(out)}': is a directory; name the archive to write"


def test_what_is_no_regular_file_is_refused(folder: Path, write_spec: WriteSpec) -> None:
    os.mkfifo(folder / "pipe")
    message = refused(write_spec(), folder / "pipe")
    assert message == f"'-o {folder / 'pipe'}': is not a regular file; name the archive to write"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("spec.yaml", "the spec"),
        ("model.onnx", "the model"),
        ("pipeline.onnx", "the pipeline"),
        ("data.parquet", "data.reference"),
        ("calibration.parquet", "data.calibration"),
        ("evaluation.parquet", "data.evaluation"),
        ("card.md", "the card"),
        ("lock.txt", "lineage.environment"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_the_spec_names_is_refused_by_any_of_its_names(
    folder: Path, write_spec: WriteSpec, name: str, what: str, linked: bool
) -> None:
    spec = write_spec(
        pipeline="pipeline.onnx",
        data={"calibration": "calibration.parquet", "evaluation": "evaluation.parquet"}
        | {"reference": "data.parquet", "label": "label"},
        card="card.md",
        lineage={"environment": "lock.txt"},
    )
    for other in ("pipeline.onnx", "calibration.parquet", "evaluation.parquet", "card.md", "lock.txt"):
        (folder / other).write_text(other)
    out = folder / name
    if linked:
        out = folder / "out.kedge"
        out.symlink_to(folder / name)
    assert refused(spec, out) == f"'-o {out}': is {what} this bundle is made from; name another file"


def test_the_models_external_data_is_refused(folder: Path, write_spec: WriteSpec) -> None:
    onnx.save_model(
        classifier(), folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    spec, out = write_spec(), folder / "weights.bin"
    assert (
        refused(spec, out) == f"'-o {out}': is external data of the model this bundle is made from; name another file"
    )


def test_an_archive_of_before_is_replaced(folder: Path, write_spec: WriteSpec) -> None:
    (folder / "out.kedge").write_text("of before")
    assert build(write_spec(), folder / "out.kedge").path == folder / "out.kedge"
    assert (folder / "out.kedge").read_bytes()[:11] == b"bundle.json"
