"""How many connections a server takes: as many as it is told to, but never more than it may open files."""

from __future__ import annotations

from typing import Final

from kedge.plane.contract import Limits

OWN_FILES: Final = 256
"""Descriptors left for all else: state, models, metrics, the admin port. Without them a flood of connections would keep
the server from writing its audit log."""


def connection_limits(wanted: int, files: int) -> tuple[Limits, str | None]:
    """Bounds of the data port, and a note where they are lower than asked for.

    Args:
        wanted: connections that may be open at a time.
        files: that this process may have open.
    """
    most = max(1, files - OWN_FILES)
    if most >= wanted:
        return Limits(max_connections=wanted), None
    return Limits(max_connections=most), (
        f"at most {most} connections instead of {wanted}: this process may open {files} files, {OWN_FILES} of them for "
        "itself; raise the limit (ulimit -Hn, or LimitNOFILE of systemd)"
    )
