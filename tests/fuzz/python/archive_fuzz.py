"""A bundle archive, byte for byte: `kedge.bundle.verify.extract` into a private directory."""

from __future__ import annotations

import shutil

import harness
import making

from kedge.bundle import verify

ROOM = harness.room()


def one(data: bytes) -> None:
    archive, staging = ROOM / "archive.kedge", ROOM / "staging"
    archive.write_bytes(data)
    staging.mkdir(mode=0o700)
    try:
        verify.extract(archive, staging)
    finally:
        shutil.rmtree(staging)


if __name__ == "__main__":
    external = making.model(external={"location": "w.bin", "offset": "0", "length": "16"})
    harness.main(
        one, (making.pack(making.files()), making.pack({**making.files(model_=external), "model/w.bin": bytes(16)}))
    )
