"""Landlock for the process that tries a model: it may read and compute, not write files, run programs or use TCP.

By ``docs.kernel.org/userspace-api/landlock.html``: a ruleset names what it handles, and what no rule allows is denied;
here there is no rule. A kernel without Landlock, or with an older one, denies less; the limits of the process and its
place apart from the server do not depend on it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
"""System calls; their numbers are the same on every architecture that Linux has gained or kept them for."""
_VERSION: Final = 1
"""Flag that asks for the version of the interface instead of making a ruleset."""
_EXECUTE_AND_WRITE: Final = 0b11
_MAKE_AND_REMOVE: Final = 0b1_1111_1111 << 4
"""Removing files and directories, making entries of every kind."""
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_IOCTL: Final = 1 << 15
_TCP: Final = 0b11
"""Bind and connect."""
_SCOPES: Final = 0b11
"""Abstract unix sockets of, and signals to, processes outside."""


def confine() -> int:
    """Deny this process, for good, what loading a model never needs. It must have no new privileges already.

    Returns:
        Version of Landlock, 0 where there is none.
    """
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        return 0
    system = ctypes.CDLL(None, use_errno=True).syscall
    system.restype = ctypes.c_long
    version = int(system(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))
    if version < 1:
        return 0
    handled = (ctypes.c_uint64 * 3)(_files(version), _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(system(_CREATE_RULESET, handled, ctypes.c_size_t(size), 0))
    if ruleset < 0:
        return 0
    try:
        return version if system(_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _files(version: int) -> int:
    rights = _EXECUTE_AND_WRITE | _MAKE_AND_REMOVE
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL)):
        rights |= right if version >= since else 0
    return rights
