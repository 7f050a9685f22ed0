"""External data past the 2 GiB that protobuf, and many a 32-bit offset, can take."""

from __future__ import annotations

import hashlib
import resource
from typing import TYPE_CHECKING

import making
import onnx
import pytest
from onnx import TensorProto, helper

from kedge.bundle import archive, canonical, limits, ustar, verify

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 2**31 + 4096
"""Of the external data file."""


def large_model() -> onnx.ModelProto:
    """The small model, with one tensor of 2 GiB and one that begins where it ends."""
    model = making.model(external={"location": "w.bin", "offset": str(2**31), "length": "16"})
    bulk = TensorProto(name="bulk", data_type=TensorProto.FLOAT, dims=[2**29], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(2**31))):
        bulk.external_data.add(key=key, value=value)
    model.graph.initializer.append(bulk)
    model.graph.node.append(helper.make_node("Size", ["bulk"], ["unused"]))
    return model


@pytest.mark.long
def test_external_data_of_more_than_two_gibibytes_is_packed_and_opened_in_bounded_memory(tmp_path: Path) -> None:
    content = making.files(model_=large_model())
    manifest = making.manifest({**content, "model/w.bin": b""})
    digest = hashlib.sha256()
    for _ in range(SIZE // limits.MIB):
        digest.update(bytes(limits.MIB))
    digest.update(bytes(SIZE % limits.MIB))
    next(entry for entry in manifest["files"] if entry["path"] == "model/w.bin").update(
        size=SIZE, sha256=digest.hexdigest()
    )
    tree = making.lay_out(tmp_path / "tree", content)
    (tree / "bundle.json").write_bytes(canonical.encode(manifest))
    with (tree / "model/w.bin").open("wb") as file:
        file.truncate(SIZE)  # sparse: the source takes no space
    archive.write(tree, tmp_path / "large.kedge")
    assert (tmp_path / "large.kedge").stat().st_size > ustar.span(SIZE)
    with verify.opened(tmp_path / "large.kedge") as bundle:
        assert (bundle.directory / "model/w.bin").stat().st_size == SIZE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1024 * 1024, "KiB: half of the data"
