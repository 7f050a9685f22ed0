"""Files of certificates and keys, as a user names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 1024 * 1024
"""Of a file: it is read whole."""


def read(path: Path, flag: str = "") -> bytes:
    """What a PEM file holds.

    Args:
        path: of the file.
        flag: the option that named it, for errors; empty: none did.

    Raises:
        ConfigError: it cannot be read, is larger than `MAX_BYTES`, or is not PEM.
    """
    where = f"{flag}: " if flag else ""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}cannot read '{path}': {error.strerror}") from error
    if b"-----BEGIN" not in data or len(data) > MAX_BYTES:
        raise ConfigError(f"{where}'{path}' is not a PEM file")
    return data
