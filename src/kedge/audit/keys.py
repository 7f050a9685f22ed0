"""Key files: Ed25519, PKCS#8 PEM, readable by their owner alone, and never written over."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kedge.audit.errors import KeyFileError

if TYPE_CHECKING:
    from pathlib import Path

MAX_KEY_BYTES: Final = 64 * 1024


def key_id(public: Ed25519PublicKey) -> str:
    """SHA-256 of the key in SubjectPublicKeyInfo form, 64 hex digits: what ``openssl pkey -pubout`` digests to."""
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def public_pem(public: Ed25519PublicKey) -> str:
    """The public key as PEM text."""
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def generate(path: Path) -> Ed25519PrivateKey:
    """Make a key pair: `path` (0600) and, beside it, the public key as ``NAME.pub``.

    Raises:
        KeyFileError: one of both exists, or cannot be written.
    """
    if not path.name:  # '.' and '/' have none to put another beside
        raise KeyFileError(f"cannot write key '{path}': is a directory; name the file to write")
    private = Ed25519PrivateKey.generate()
    public = public_path(path)
    if public.exists():
        raise KeyFileError(f"'{public}' exists; keys are never written over, choose another name")
    store(private, path)
    create(public, public_pem(private.public_key()).encode(), 0o644)
    return private


def store(private: Ed25519PrivateKey, path: Path) -> None:
    """Write a private key to a new file (0600). Raises `KeyFileError`."""
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    create(path, pem, 0o600)


def public_path(path: Path) -> Path:
    """Where `generate` puts the public half."""
    return path.with_name(f"{path.name}.pub")


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        KeyFileError: it is missing, a link, not this user's, open to others, or no unencrypted Ed25519 key in PEM.
    """
    data = read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"'{path}' is not an unencrypted private key in PEM; make one: kedge keygen") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"'{path}' is not an Ed25519 key; make one: kedge keygen")
    return key


def load_public(data: bytes, what: str) -> Ed25519PublicKey:
    """Read a public key in PEM. Raises `KeyFileError` naming `what`."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{what} is not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{what} is not an Ed25519 key")
    return key


def secret(path: Path) -> bytes:
    """32 secret bytes kept in a file (0600), which is made if missing. Raises `KeyFileError`."""
    if not path.exists():
        create(path, secrets.token_bytes(32), 0o600)
    return read_private(path)


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner may read. Raises `KeyFileError` if others may."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"cannot read key '{path}': {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"key '{path}' is not a regular file")
        if status.st_uid not in {os.geteuid(), 0}:
            raise KeyFileError(f"key '{path}' belongs to another user")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"key '{path}' is open to others (mode {status.st_mode & 0o777:04o}); run: chmod 600 '{path}'"
            )
        return file.read(MAX_KEY_BYTES)


def create(path: Path, data: bytes, mode: int) -> None:
    """Write a new file, synced, with exactly this mode. It appears as a whole or not at all.

    Raises:
        KeyFileError: it exists, or cannot be written.
    """
    # Under another name first: half a key, left by a crash or a full disk, would stand in the way of a whole one.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.link(partial, path, follow_symlinks=False)  # a rename would replace what is there
        sync(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"'{path}' exists; keys are never written over, choose another name") from error
    except OSError as error:
        raise KeyFileError(f"cannot write key '{path}': {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # what was raised above says more
            partial.unlink()


def sync(directory: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
