"""A bundle whose digests are all right and one of whose files is anything: bundle.json, other JSON, the ONNX graph.

The first byte says which file the others are. Digests are made to fit, so that what stands behind them is reached.
"""

from __future__ import annotations

import shutil

import harness
import making

from kedge.bundle import canonical, verify
from kedge.errors import BundleError

ROOM = harness.room()
EXTERNAL = making.model(external={"location": "w.bin", "offset": "0", "length": "16"})
FILES = {**making.files(model_=EXTERNAL), "model/w.bin": bytes(16), "docs/modelcard.md": b"# Card\n"}
PATHS = ("bundle.json", *sorted(FILES))


def archive(data: bytes) -> bytes:
    path = PATHS[data[0] % len(PATHS)]
    if path == "bundle.json":
        return making.pack(FILES, first=data[1:])
    return making.pack({**FILES, path: data[1:]})


def one(data: bytes) -> None:
    if not data:
        return
    path, staging = ROOM / "archive.kedge", ROOM / "staging"
    path.write_bytes(archive(data))
    staging.mkdir(mode=0o700)
    try:
        bundle = verify.extract(path, staging)
        try:
            bundle.layout()
        except BundleError as error:
            raise AssertionError("what was verified does not fit") from error
    finally:
        shutil.rmtree(staging)


if __name__ == "__main__":
    whole = {"bundle.json": canonical.encode(making.manifest(FILES)), **FILES}
    harness.main(one, (bytes([number]) + whole[path] for number, path in enumerate(PATHS)))
