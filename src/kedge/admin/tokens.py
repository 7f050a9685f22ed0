"""The file of callers known by a bearer token: digests of tokens, never tokens.

One caller a line, ``NAME ROLE SHA256``; what follows a ``#`` is a comment. The file is its owner's alone (0600).
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from kedge.config import RoleName
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROLES: Final[tuple[RoleName, ...]] = get_args(RoleName)
"""From the least to the most allowed; each may what those before it may."""
PREFIX: Final = "kedge_"
"""Of every token, so that scanners for leaked secrets find them."""
SECRET_BYTES: Final = 32
MAX_FILE_BYTES: Final = 1024 * 1024
"""Of the file: it is read whole."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """A caller.

    Attributes:
        name: who it is, for the audit log.
        role: what it may do.
        digest: SHA-256 of its token, 64 hex digits.
    """

    name: str
    role: RoleName
    digest: str


def read(path: Path) -> tuple[Token, ...]:
    """Every caller of a file.

    Raises:
        ConfigError: it cannot be read, others may read or write it, or a line is malformed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the tokens of '{path}': {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"'{path}' is open to others (mode {mode:03o}); run: chmod 600 '{path}'")
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"'{path}' is larger than {MAX_FILE_BYTES} bytes; this is no file of tokens")
    found: list[Token] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or not (_NAME.fullmatch(words[0]) and _DIGEST.fullmatch(words[2])):
            raise ConfigError(f"{path}, line {number}: expected NAME ROLE SHA256, as `kedge token new` writes it")
        found.append(Token(words[0], _role(words[1], f"{path}, line {number}"), words[2]))
        if found[-1].name in {token.name for token in found[:-1]}:
            raise ConfigError(f"{path}, line {number}: '{words[0]}' has a token already; a caller has one")
    return tuple(found)


def match(tokens: Sequence[Token], given: str) -> Token | None:
    """The caller whose token this is, found in a time that says nothing about which digests there are."""
    digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def new(path: Path, name: str, role: str) -> str:
    """Make a caller and write it to a file, which is made (0600) if missing. Returns the token, which is kept nowhere.

    Raises:
        ConfigError: the name or role is none, the name has a token already, or the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' is no name of a caller; use up to 128 letters, digits and . _ @ -")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = Token(name, _role(role, "--role"), hashlib.sha256(secret.encode()).hexdigest())
    with _alone(path):
        known = read(path) if path.exists() else ()
        if any(other.name == name for other in known):
            raise ConfigError(
                f"'{path}': '{name}' has a token already; revoke it first: kedge token revoke {name} --tokens {path}"
            )
        _write(path, (*known, token))
    return secret


def revoke(path: Path, name: str) -> None:
    """Remove a caller from a file. Raises `ConfigError` where it has none by this name."""
    with _alone(path):
        known = read(path)
        left = tuple(token for token in known if token.name != name)
        if len(left) == len(known):
            names = ", ".join(token.name for token in known) or "none"
            raise ConfigError(f"'{path}' has no token of '{name}'; it has: {names}")
        _write(path, left)


class Tokens:
    """The callers of a file as it is now: a token that is revoked there is refused from then on. Thread-safe.

    Args:
        path: the file.

    Raises:
        ConfigError: as `read`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = (_stamp(path), read(path))

    def match(self, given: str) -> Token | None:
        """The caller whose token this is, or None.

        Raises:
            ConfigError: the file was changed into something that cannot be used; nobody is let in then.
        """
        # One assignment, so that threads that read at the same time never pair old callers with a new stamp; and the
        # stamp first, so that a change between the two is seen by the next call.
        stamp = _stamp(self._path)
        known, tokens = self._known
        if stamp is None or stamp != known:
            tokens = read(self._path)
            self._known = (stamp, tokens)
        return match(tokens, given)


def _role(text: str, where: str) -> RoleName:
    for role in ROLES:
        if text == role:
            return role
    raise ConfigError(f"{where}: '{text}' is no role; roles are {', '.join(ROLES)}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing the file meanwhile: two changes at once must not undo one another."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot use '{path.parent}': {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)  # or a power cut brings back who was revoked
    finally:
        os.close(descriptor)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_mode


def _write(path: Path, tokens: Sequence[Token]) -> None:
    """Replace the file whole, so that a server never reads half of it."""
    text = "".join(f"{token.name} {token.role} {token.digest}\n" for token in tokens)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ConfigError(f"cannot write '{path}': {error.strerror}") from error
