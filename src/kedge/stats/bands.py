"""Confidence sequences: bands around distribution functions and intervals around means, valid at all times at once."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from ._counts import Floats, counts, level, pair, proportions, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_A = 0.85
_BETTING_SCALES = 2.0 ** -np.arange(1, 15)


def _crossing_probability(c: float) -> float:
    """Howard and Ramdas' bound on the chance that the band with A = 0.85 and this C is ever left (their Theorem 2)."""

    def log_bound(eta: float) -> float:
        gamma2 = (2.0 / eta) * (_A - math.sqrt(2.0 * (eta - 1.0) / c)) ** 2
        if gamma2 <= 1.0 or _A * _A * c <= 2.0 * (eta - 1.0):
            return math.inf
        return math.log(4.0) - gamma2 * c + math.log1p(1.0 / ((gamma2 - 1.0) * math.log(eta)))

    grid = np.linspace(1.0 + 1e-6, 2.0 * _A * _A, 400)
    best = int(np.argmin([log_bound(eta) for eta in grid]))
    if not math.isfinite(log_bound(grid[best])):
        return 1.0
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(log_bound, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    return math.exp(min(float(found.fun), 0.0))


@lru_cache(maxsize=64)
def empirical_process_constant(alpha: float) -> float:
    """Return C of `empirical_process_radius`: the band with A = 0.85 is ever left with probability at most `alpha`.

    The C at which inf over eta in (1, 2 A^2) of 4 exp(-g^2 C) (1 + 1 / ((g^2 - 1) ln eta)), with
    g = sqrt(2 / eta) (A - sqrt(2 (eta - 1) / C)) > 1, equals alpha: 8.1227 at 0.05, 9.2835 at 0.01.

    Source: Howard and Ramdas 2022, "Sequential estimation of quantiles", Theorem 2.
    """
    target = level(alpha)
    high = 16.0
    while _crossing_probability(high) > target:
        high *= 2.0
    return float(brentq(lambda c: math.log(_crossing_probability(c) / target), 0.5, high, xtol=1e-12))


def empirical_process_radius(t: ArrayLike, alpha: float, m: int = 100) -> Floats:
    """Return the half-width of a Kolmogorov band that holds for all sample sizes from `m` on at once.

    r(t) = 0.85 sqrt((ln(1 + ln(t / m)) + C) / t) with C from `empirical_process_constant`: with probability 1 - alpha,
    max |F_t - F| <= r(t) for every t >= m, also when only looked at on bin edges.

    Args:
        t: (...) sample sizes.
        alpha: strictly between 0 and 1.
        m: size from which the band holds, at least 1.

    Returns:
        (...) radii; infinity where t < m, since the band says nothing there.

    Raises:
        ValueError: outside that domain.

    Source: Howard and Ramdas 2022, "Sequential estimation of quantiles", Theorem 2.
    """
    sizes = np.asarray(t, dtype=np.float64)
    if m < 1:
        raise ValueError(f"m must be at least 1, got {m}")
    constant = empirical_process_constant(alpha)
    known = sizes >= m
    safe = np.where(known, sizes, float(m))
    return unwrap(np.where(known, _A * np.sqrt((np.log1p(np.log(safe / m)) + constant) / safe), np.inf))


def band_excess(canary: ArrayLike, control: ArrayLike, alpha: float, m: int = 100) -> Floats:
    """Return how far two arms' distributions surely lie apart: max |Fc - Fb| - r_c - r_b.

    Two bands at alpha / 2 each; the guard fires when this passes its tolerance (0.1).

    Args:
        canary: counts (..., cells) in the order of their values, since the start of the rollout.
        control: counts (..., cells).
        alpha: strictly between 0 and 1.
        m: as in `empirical_process_radius`.

    Returns:
        (...) at most 1; minus infinity while an arm has fewer than m units.
    """
    first, second = pair(canary, control)
    n, k = first.sum(axis=-1), second.sum(axis=-1)
    apart = np.abs(np.cumsum(proportions(first, n) - proportions(second, k), axis=-1)).max(axis=-1)
    radii = empirical_process_radius(n, alpha / 2.0, m) + empirical_process_radius(k, alpha / 2.0, m)
    return unwrap(np.asarray(apart - radii))


def betting_confidence_sequence(
    values: ArrayLike, counts_: ArrayLike | None = None, alpha: float = 0.05
) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of a mean in [0, 1] that hold at all times at once with probability 1 - `alpha`.

    A bettor against "the mean is m" holds K(m) = average_j of prod_i (1 + 2^-j (x_i - m) / m), j = 1..14; the lower
    bound is the m where K(m) = 2 / alpha, the upper bound the same on 1 - x. Fixed bets make the capital a function of
    counts alone, so a histogram is enough and order does not matter. Bounds at later times may be intersected with
    earlier ones.

    Args:
        values: (cells,) what was observed, in [0, 1]; [0, 1] for yes and no. For a histogram, lower edges give a valid
            lower bound and upper edges a valid upper one.
        counts_: (..., cells) how often each was observed so far; None means once each.
        alpha: strictly between 0 and 1; half goes to each side.

    Returns:
        (lower, upper), each (...) in [0, 1]; (0, 1) for no observations.

    Raises:
        ValueError: values outside [0, 1], negative counts, or numbers of cells that differ.

    Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting".
    """
    x, n = _observed(values, counts_)
    needed = math.log(2.0 / level(alpha))
    return unwrap(_lower_bound(x, n, needed)), unwrap(1.0 - _lower_bound(1.0 - x, n, needed))


def betting_log_e(values: ArrayLike, counts_: ArrayLike, m: float) -> Floats:
    """Return log E against "the mean is at most `m`", of values in [0, 1].

    The capital K(m) of `betting_confidence_sequence`: a test supermartingale where E[x | past] <= m at every step, and
    a function of counts alone, so that counts of panes may be summed in any order.

    Args:
        values: (cells,) what was observed, in [0, 1]; for a histogram its lower edges.
        counts_: (..., cells) how often each was observed so far.
        m: strictly between 0 and 1.

    Returns:
        (...) log E; 0 for no observations. Fire at log E >= ln(1 / alpha).

    Raises:
        ValueError: outside that domain, or numbers of cells that differ.

    Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting".
    """
    x, n = _observed(values, counts_)
    return unwrap(_log_capital(x, n, np.full(n.shape[:-1], level(m, "m"))))


def _observed(values: ArrayLike, counts_: ArrayLike | None) -> tuple[Floats, Floats]:
    x = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if x.size and not ((x >= 0) & (x <= 1)).all():
        raise ValueError("values must lie in [0, 1]")
    n = np.ones(x.shape) if counts_ is None else counts(counts_)
    if n.shape[-1] != x.shape[-1] or x.ndim != 1:
        raise ValueError(f"counts have {n.shape[-1]} cells and values {x.shape[-1]}; both must have the same")
    return x, n


def _log_capital(x: Floats, n: Floats, m: Floats) -> Floats:
    """Of the bettor against each mean `m`; decreasing in it."""
    gains = np.log1p(_BETTING_SCALES * (x / m[..., None] - 1.0)[..., None])
    # The ufunc and not scipy's logsumexp, whose overhead is many times the work on fourteen numbers.
    total = np.logaddexp.reduce((n[..., None] * gains).sum(axis=-2), axis=-1)
    return np.asarray(total - math.log(_BETTING_SCALES.size))


def _lower_bound(x: Floats, n: Floats, needed: float) -> Floats:
    """Bisect for the m at which the capital falls to `needed`; all leading axes at once."""
    low, high = np.zeros(n.shape[:-1]), np.ones(n.shape[:-1])
    for _ in range(60):
        middle = (low + high) / 2.0
        beaten = _log_capital(x, n, middle) >= needed
        low, high = np.where(beaten, middle, low), np.where(beaten, high, middle)
    return low
