"""What a process of Kedge gives up before it reads anything from a stranger. Linux; elsewhere less of it exists.

A server keeps keys in memory and writes a state directory that is its owner's alone. So it becomes another user than
root where it is told to, can never gain privileges again by running a program, leaves no core files, may not be traced
by other processes of its user, and writes files for nobody else.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import sys
from pathlib import Path
from typing import Final

from kedge.errors import ConfigError

PRIVATE: Final = 0o077
"""umask: whatever a server writes is its owner's alone."""
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_LINUX: Final = sys.platform == "linux"


def drop(name: str, state: Path) -> None:
    """Become another user, with that user's groups, for good. Before any thread or file of the server exists.

    Args:
        name: of the user.
        state: the state directory; made for that user (0700) if missing, because its parent may be root's.

    Raises:
        ConfigError: there is no such user, this process is not root (nor that user), or the user cannot run Kedge.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--user: this machine has no user '{name}'") from None
    if os.geteuid() != 0:
        if os.geteuid() != user.pw_uid:
            raise ConfigError(f"--user: only root can become '{name}'; start as root, or as '{name}' without --user")
        return
    if user.pw_uid == 0:
        raise ConfigError("--user: names root, which is who to get away from; name a user without privileges")
    try:
        if not state.exists():
            state.mkdir(mode=0o700, parents=True)
            # Where others may write, a link may have taken its place: whose file it names is not root's to give away.
            os.chown(state, user.pw_uid, user.pw_gid, follow_symlinks=False)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise ConfigError(f"--user: cannot become '{name}': {error.strerror}") from error
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    for what, path in (("interpreter", Path(sys.executable)), ("package", Path(__file__))):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"--user: '{name}' cannot read the {what} '{path}'; install Kedge where that user can")


def harden() -> None:
    """Give up what a server never needs; whatever it starts inherits all but the third.

    No new privileges (set-user-ID programs run as who they are started by), no core files, no tracing by and no
    ``/proc`` for others of the same user, and a private umask. Idempotent.
    """
    os.umask(PRIVATE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _LINUX:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)


def open_files() -> int:
    """Raise the number of files this process may have open to the most it may ask for, and return it.

    A connection is a file, and the usual limit of 1,024 is one for programs that call select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return _many(soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # where the most is more than the system lets anybody have
        return _many(soft)
    return _many(hard)


def _many(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def root() -> bool:
    """Whether this process may do everything."""
    return os.geteuid() == 0


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise ConfigError(f"cannot give up privileges (prctl {option}): {os.strerror(number)}")
