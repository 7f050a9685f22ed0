"""What a window of a given size can show at all, so that a verdict can say `INSUFFICIENT` with a figure."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import chdtri, chndtr

from ._counts import level

WARN_PSI = 0.1
"""The PSI* from which a feature counts as drifted."""


def _critical(bins: int, features: int, q: float) -> float:
    """Chi-square a feature must pass when it is the only one that drifted among `features`."""
    if bins < 2 or features < 1:
        raise ValueError(f"need at least 2 bins and 1 feature, got {bins} and {features}")
    return float(chdtri(bins - 1, level(q, "q") / features))


def minimum_window(bins: int, features: int, q: float = 0.001) -> int:
    """Return the rows from which a feature that just reaches PSI 0.1 is also significant among `features`.

    Against a reference much larger than the window, rows x PSI is about chi-square with bins - 1 degrees of freedom
    when nothing drifted, and Benjamini-Hochberg asks a lone drifted feature for level q / features. So
    M = ceil(chi2_{bins-1}^{-1}(1 - q / features) / 0.1): 366, 542 and 730 rows for 10, 20 and 32 bins with 32 features.

    Args:
        bins: occupied bins, at least 2.
        features: features tested together, at least 1.
        q: false discovery rate, strictly between 0 and 1.

    Raises:
        ValueError: outside that domain.

    Source: chi-square limit of PSI, Yurdakul 2018; Benjamini and Hochberg 1995.
    """
    return math.ceil(_critical(bins, features, q) / WARN_PSI)


def smallest_psi(rows: int, bins: int, features: int, power: float = 0.9, q: float = 0.001) -> float:
    """Return the smallest PSI that a window of `rows` finds significant with probability `power`.

    nc / rows, where nc is the noncentrality at which chi-square with bins - 1 degrees of freedom passes the critical
    value of `minimum_window` with that probability: about 55 / rows for 20 bins, 32 features and power 0.9.

    Args:
        rows: rows in the window; infinity is returned for 0.
        bins: occupied bins, at least 2.
        features: features tested together, at least 1.
        power: strictly between q / features and 1.
        q: false discovery rate, strictly between 0 and 1.

    Raises:
        ValueError: outside that domain.

    Source: Cohen 1988, "Statistical power analysis", chapter 7 (noncentral chi-square).
    """
    critical = _critical(bins, features, q)
    if not q / features < level(power, "power"):
        raise ValueError(f"power must be above q / features = {q / features:g}, got {power}")
    if rows <= 0:
        return math.inf

    def missed(noncentrality: float) -> float:
        return float(chndtr(critical, bins - 1, noncentrality)) - (1.0 - power)

    high = critical + 10.0
    while missed(high) > 0:
        high *= 2.0
    return float(brentq(missed, 0.0, high)) / rows
