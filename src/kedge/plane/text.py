"""Client text inside error messages: kept short, and on one line."""

from __future__ import annotations

import re
from typing import Final

from kedge.plane.limits import MAX_ERROR, MAX_NAME_IN_ERROR

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")


def quoted(name: str) -> str:
    """A client's own word in quotes, without control characters, cut where it is too long to repeat."""
    clean = _CONTROL.sub("?", name[: MAX_NAME_IN_ERROR + 1])
    return f"'{clean}'" if len(clean) <= MAX_NAME_IN_ERROR else f"'{clean[:MAX_NAME_IN_ERROR]}...'"


def one_line(message: str) -> str:
    """A message as one line of bounded length."""
    return _CONTROL.sub(" ", message[:MAX_ERROR])
