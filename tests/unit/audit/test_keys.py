"""Key files are private, are never written over, and are Ed25519."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kedge.audit import keys
from kedge.audit.errors import KeyFileError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pair_is_made_private_and_reads_back(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        private = keys.generate(tmp_path / "k.key")
    finally:
        os.umask(old)
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600
    assert keys.load_private(tmp_path / "k.key").private_bytes_raw() == private.private_bytes_raw()
    public = keys.load_public((tmp_path / "k.key.pub").read_bytes(), "k")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert keys.key_id(private.public_key()) == hashlib.sha256(der).hexdigest()


def test_no_key_is_ever_written_over(tmp_path: Path) -> None:
    keys.generate(tmp_path / "k")
    before = (tmp_path / "k").read_bytes()
    with pytest.raises(KeyFileError, match="never written over"):
        keys.generate(tmp_path / "k")
    (tmp_path / "j.pub").write_text("somebody's")
    with pytest.raises(KeyFileError, match="never written over"):
        keys.generate(tmp_path / "j")
    assert (tmp_path / "k").read_bytes() == before
    assert not (tmp_path / "j").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o777])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    keys.generate(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load_private(tmp_path / "k")


def test_what_is_no_private_ed25519_key_is_refused(tmp_path: Path) -> None:
    def refused(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(KeyFileError) as error:
            keys.load_private(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    private = keys.generate(tmp_path / "k")
    assert "not an unencrypted private key" in refused("text", b"hello")
    assert "not an unencrypted private key" in refused("public", (tmp_path / "k.pub").read_bytes())
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
    )
    assert "not an unencrypted private key" in refused("locked", locked)
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert "not an Ed25519 key" in refused("curve", curve)
    (tmp_path / "link").symlink_to(tmp_path / "k")
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "fifo", "absent"):
        with pytest.raises(KeyFileError):
            keys.load_private(tmp_path / name)


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    first = keys.secret(tmp_path / "s")
    assert len(first) == 32
    assert keys.secret(tmp_path / "s") == first
    (tmp_path / "s").chmod(0o644)
    with pytest.raises(KeyFileError):
        keys.secret(tmp_path / "s")
