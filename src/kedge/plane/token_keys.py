"""The keys that seal prediction ids: a file of the state directory that its owner alone may read.

One key seals; those before it still open ids until no id that they sealed can be of use any more.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kedge.errors import Code, KedgeError
from kedge.plane.contract import TokenKey, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE: Final = "tokens.json"
VERSION: Final = 1
SECRET_BYTES: Final = 16
ROTATE_SECONDS: Final = 90 * 86400
"""Age at which a key stops sealing."""
VERIFY_SECONDS: Final = 31 * 86400
"""How long a key opens ids after it stopped sealing: the horizon of outcomes, and a day for clocks that differ."""
MAX_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 256
"""An id has a byte for it."""


class TokenKeyError(KedgeError):
    """The keys of prediction ids cannot be read, trusted or written."""

    code = Code.FAILED_PRECONDITION


@dataclass(frozen=True)
class TokenKeys:
    """The keys in use.

    Attributes:
        tokens: the key that seals, and a boot id drawn anew whenever keys are loaded.
        keys: all that open ids, the one that seals included.
        rotate_at: when the key that seals is to be replaced, seconds since 1970.
    """

    tokens: Tokens
    keys: tuple[TokenKey, ...]
    rotate_at: float


@dataclass(frozen=True)
class _Stored:
    id: int
    secret: bytes = field(repr=False)
    created: float
    retired: float | None


def load(
    directory: Path, clock: Callable[[], float], random: Callable[[int], bytes] = secrets.token_bytes
) -> TokenKeys:
    """Read the keys; make the first one, and replace one that is due.

    Args:
        directory: where the file stands; made (0700) if missing.
        clock: seconds since 1970.
        random: that many unpredictable bytes.

    Raises:
        TokenKeyError: the file is damaged, a link, not this user's, or open to others.
    """
    stored = _read(directory / FILE)
    if not stored or clock() >= _sealing(stored).created + ROTATE_SECONDS:
        return rotate(directory, clock, random)
    return _in_use(stored, int.from_bytes(random(8), "little"))


def rotate(
    directory: Path,
    clock: Callable[[], float],
    random: Callable[[int], bytes] = secrets.token_bytes,
    boot: int | None = None,
) -> TokenKeys:
    """Seal with a new key from now on; those before it go on opening ids until the horizon.

    Args:
        directory: as in `load`.
        clock: seconds since 1970.
        random: that many unpredictable bytes.
        boot: of a running server, which goes on numbering its ids under it; None draws one.

    Raises:
        TokenKeyError: as `load`; the file cannot be written; or there are as many keys as ids can name.
    """
    now, path = clock(), directory / FILE
    stored = [key for key in _read(path) if key.retired is None or now < key.retired + VERIFY_SECONDS]
    if len(stored) >= MAX_KEYS:
        raise TokenKeyError(f"'{path}' holds {MAX_KEYS} keys, as many as ids can name; rotate less often")
    last = _sealing(stored).id if stored else 0
    taken = {key.id for key in stored}
    fresh = next(number % MAX_KEYS for number in range(last + 1, last + 1 + MAX_KEYS) if number % MAX_KEYS not in taken)
    kept = [key if key.retired is not None else _Stored(key.id, key.secret, key.created, now) for key in stored]
    kept.append(_Stored(fresh, random(SECRET_BYTES), now, None))
    _write(path, kept)
    return _in_use(kept, int.from_bytes(random(8), "little") if boot is None else boot)


def _sealing(stored: list[_Stored]) -> _Stored:
    return next(key for key in stored if key.retired is None)


def _in_use(stored: list[_Stored], boot: int) -> TokenKeys:
    sealing = _sealing(stored)
    return TokenKeys(
        tokens=Tokens(TokenKey(sealing.id, sealing.secret), boot),
        keys=tuple(TokenKey(key.id, key.secret) for key in stored),
        rotate_at=sealing.created + ROTATE_SECONDS,
    )


def _read(path: Path) -> list[_Stored]:
    """The keys in the file, exactly one of them not retired; none where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TokenKeyError(f"cannot read the keys of prediction ids in '{path}': {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in {os.geteuid(), 0}:
            raise TokenKeyError(f"the keys of prediction ids in '{path}' are no regular file of this user's")
        if status.st_mode & 0o077:
            raise TokenKeyError(
                f"the keys of prediction ids in '{path}' are open to others (mode {status.st_mode & 0o777:04o}), who "
                f"may have read them: remove the file, and ids given out so far will not be taken any more; or trust "
                f"it and run: chmod 600 '{path}'"
            )
        data = file.read(MAX_BYTES + 1)
    try:
        value = json.loads(data)
        if value["version"] != VERSION:
            raise TokenKeyError(f"'{path}' was written by another Kedge (version {value['version']})")
        keys = [_parsed(item) for item in value["keys"]]
        if len({key.id for key in keys}) != len(keys) or sum(key.retired is None for key in keys) != 1:
            raise ValueError("ids must differ and one key must be in use")
    except (ValueError, TypeError, KeyError) as error:
        raise TokenKeyError(
            f"the keys of prediction ids in '{path}' are damaged; restore them, or remove the file, and ids given out "
            "so far will not be taken any more"
        ) from error
    return keys


def _parsed(item: Any) -> _Stored:
    retired = item["retired"]
    key = _Stored(
        int(item["id"]),
        bytes.fromhex(item["secret"]),
        float(item["created"]),
        None if retired is None else float(retired),
    )
    if not 0 <= key.id < MAX_KEYS or len(key.secret) != SECRET_BYTES:
        raise ValueError("a key has an id in [0, 255] and 16 bytes")
    return key


def _write(path: Path, keys: list[_Stored]) -> None:
    """Replace the file as a whole."""
    items = [{"id": key.id, "secret": key.secret.hex(), "created": key.created, "retired": key.retired} for key in keys]
    data = json.dumps({"version": VERSION, "keys": items}, indent=1).encode()
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # left by a process that died here
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise TokenKeyError(f"cannot write the keys of prediction ids to '{path}': {error.strerror}") from error
