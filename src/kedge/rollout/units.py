"""How plans write shares and times: ``5%`` and ``10m``."""

from __future__ import annotations

import re
from typing import Final

_PER_CENT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*\Z")
_TIME: Final = re.compile(
    r"\s*(?=[0-9])(?:([0-9]+)\s*d)?\s*(?:([0-9]+)\s*h)?\s*(?:([0-9]+)\s*m)?\s*(?:([0-9]+(?:\.[0-9]+)?)\s*s)?\s*\Z"
)
_SECONDS: Final = (86400.0, 3600.0, 60.0, 1.0)


def share(value: object) -> object:
    """``5%`` is 0.05; a number stays one. Raises `ValueError` for other text."""
    if isinstance(value, bool):
        raise ValueError("must be a number or per cent such as 5%")  # noqa: TRY004 - pydantic wants a ValueError
    if not isinstance(value, str):
        return value
    if match := _PER_CENT.match(value):
        # Through text, so that 0.5% is the number 0.005 and not its neighbour.
        return float(f"{match[1]}e-2")
    raise ValueError("must be a number in [0, 1] or per cent such as 5%")


def seconds(value: object) -> object:
    """``10m`` is 600; a number is seconds. Raises `ValueError` for other text."""
    if isinstance(value, bool):
        raise ValueError("must be seconds or a time such as 10m")  # noqa: TRY004 - pydantic wants a ValueError
    if not isinstance(value, str):
        return value
    if match := _TIME.match(value):
        return sum(float(part) * scale for part, scale in zip(match.groups(), _SECONDS, strict=True) if part)
    raise ValueError("must be seconds or a time such as 90s, 10m, 1h30m or 2d")


def as_time(value: float) -> str:
    """Seconds as plans write them: ``1h 30m``."""
    left = max(0, round(value))
    parts = []
    for scale, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        whole, left = divmod(left, scale)
        if whole:
            parts.append(f"{whole}{letter}")
    return " ".join(parts[:2]) or "0s"
