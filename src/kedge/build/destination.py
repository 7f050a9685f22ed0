"""Where the archive goes: checked before any work, so that nothing a person needs is overwritten by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from kedge.build import graph
from kedge.bundle import onnx_check
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.build.spec import Spec


def check(out: Path, spec_path: Path, spec: Spec) -> None:
    """Check that an archive can be written to `out` and replaces nothing it is made from, whatever name that goes by.

    Raises:
        SpecError: `out` is a directory, a device or an input of the build, or its folder does not exist. Also where
            `out` exists and the model, which is then looked into for its external data, cannot be read.
    """
    if out.is_dir():
        raise SpecError(f"'-o {out}': is a directory; name the archive to write")
    if not out.parent.is_dir():
        raise SpecError(f"cannot write '{out}': the folder '{out.parent}' does not exist")
    if not out.exists():
        return
    if not out.is_file():
        raise SpecError(f"'-o {out}': is not a regular file; name the archive to write")
    for what, path in _inputs(spec_path, spec):
        if _same(out, path):
            raise SpecError(f"'-o {out}': is {what} this bundle is made from; name another file")


def _inputs(spec_path: Path, spec: Spec) -> Iterator[tuple[str, Path]]:
    """What each file a build reads is, and the file; those only the model knows of come last."""
    folder = spec_path.parent
    yield "the spec", spec_path
    named = {"the model": spec.model, "the pipeline": spec.pipeline, "the card": spec.card}
    named["lineage.environment"] = spec.lineage.environment
    if spec.data is not None:
        named |= {f"data.{role}": getattr(spec.data, role) for role in ("reference", "calibration", "evaluation")}
    for what, uri in named.items():
        if uri is not None:
            yield what, folder / uri
    source = folder / spec.model
    locations = {
        entry.value
        for tensor in onnx_check.tensors(graph.parse(source, spec.model))
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for location in sorted(locations):
        yield "external data of the model", source.parent / location


def _same(out: Path, path: Path) -> bool:
    try:
        return out.samefile(path)
    except (OSError, ValueError):  # not there, or no path at all: whoever reads it says so
        return False
