"""The state directory: private to its owner, locked by one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = "lock"
STORE: Final = "store"
DATABASE: Final = "kedge.db"


class StateError(KedgeError):
    """The state directory cannot be used."""

    code = Code.FAILED_PRECONDITION


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[Path]:
    """Make the directory (0700) if missing and hold its lock; the kernel releases it however the process ends.

    Raises:
        StateError: another process holds it, it is another user's, others may write to it, or it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.stat()
        mode = facts.st_mode
        if facts.st_uid not in {os.geteuid(), 0}:
            # Its owner can put a link in the place of anything in it, and have this process write there.
            raise StateError(
                f"'{directory}' belongs to another user (uid {facts.st_uid}); run as that user (kedge serve --user) "
                f"or give it away: chown -R {os.geteuid()} '{directory}'"
            )
        if mode & 0o022:
            raise StateError(
                f"'{directory}' may be written by others (mode {mode & 0o777:03o}); run: chmod 700 '{directory}'"
            )
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"cannot use '{directory}' as state directory: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
            by = f"process {owner}" if owner.isdigit() else "another process"
            raise StateError(
                f"state directory '{directory}' is in use by {by}; stop it or choose another --state"
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield directory
    finally:
        os.close(descriptor)
