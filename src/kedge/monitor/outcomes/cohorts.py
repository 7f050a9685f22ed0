"""Cohorts: predictions of one stretch of time, whose labels are complete when all of them have reached maturity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PER_MATURITY: Final = 24
"""Cohorts in a span of maturity: a verdict waits at most a twenty-fourth longer than it must."""
SHORTEST: Final = 60
LONGEST: Final = 6 * 3600
"""Seconds."""
KEPT: Final = 1000
"""Closed cohorts of a bundle kept apart, the youngest; those before are added up in one, `FOLDED`."""
FOLDED: Final = 0
"""Start of the cohort that holds all that were closed long ago."""


def width(maturity: int) -> int:
    """Seconds a cohort spans, for labels that take `maturity` seconds. Cohorts begin at its multiples since 1970."""
    return max(SHORTEST, min(LONGEST, maturity // PER_MATURITY))


def start(seconds: NDArray[np.int64], maturity: int) -> NDArray[np.int64]:
    """When the cohorts of predictions began: (n,) seconds since 1970."""
    wide = width(maturity)
    return seconds // wide * wide


def closed(began: int, maturity: int, now: float) -> bool:
    """Whether no label of a cohort can be on time any more."""
    return now >= began + width(maturity) + maturity
