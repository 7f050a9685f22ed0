"""E-values for shares, for cells of known proportions and for long runs, all of which may be looked at always."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, logsumexp, xlogy

from ._counts import Floats, counts, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def beta_binomial_e(k: ArrayLike, n: ArrayLike, rho: ArrayLike, a: ArrayLike, d: ArrayLike) -> Floats:
    """Return log E against "each of `n` units falls on the canary with probability exactly `rho`"; two-sided.

    log E = lnB(a + k, d + n - k) - lnB(a, d) - k ln rho - (n - k) ln(1 - rho), the likelihood under a Beta(a, d) prior
    on the share over that under rho.

    Args:
        k: (...) units on the canary.
        n: (...) units on both arms, at least k.
        rho: (...) the share in [0, 1].
        a: (...) prior weight of the canary, above 0.
        d: (...) prior weight of the control, above 0.

    Returns:
        (...) log E; 0 for n = 0; infinity for an outcome that `rho` excludes.

    Raises:
        ValueError: outside that domain.

    Source: Lindon and Malek 2022 (NeurIPS).
    """
    canary, total = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    share = np.asarray(rho, dtype=np.float64)
    if not ((canary >= 0) & (canary <= total)).all():
        raise ValueError("need 0 <= k <= n")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("rho must lie in [0, 1]")
    cells = np.stack(np.broadcast_arrays(canary, total - canary, share, 1.0 - share), axis=-1)
    prior = np.stack(np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(d, dtype=np.float64)), axis=-1)
    return _log_e(cells[..., :2], prior, cells[..., 2:])


def dirichlet_multinomial_e(counts_: ArrayLike, prior: ArrayLike, theta: ArrayLike) -> Floats:
    """Return log E against "each unit falls into the cells with probabilities exactly `theta`".

    log E = ln B(prior + counts) - ln B(prior) - sum counts ln theta, with B the multivariate beta function.
    It needs *known* probabilities, so it cannot compare two arms or a window with an estimated reference.

    Args:
        counts_: (..., cells) counts since the start.
        prior: (..., cells) Dirichlet weights, above 0; their size is the prior's trust in their proportions.
        theta: (..., cells) probabilities that sum to 1.

    Returns:
        (...) log E; 0 for no units or one cell; infinity where a cell with theta 0 was seen.

    Raises:
        ValueError: outside that domain.

    Source: Lindon and Malek 2022 (NeurIPS).
    """
    null = np.asarray(theta, dtype=np.float64)
    if null.shape[-1:] != (0,) and not ((null >= 0).all() and np.allclose(null.sum(axis=-1), 1.0, rtol=0, atol=1e-9)):
        raise ValueError("theta must be probabilities that sum to 1 on the last axis")
    return _log_e(counts(counts_), np.asarray(prior, dtype=np.float64), null)


def _log_e(seen: Floats, prior: Floats, null: Floats) -> Floats:
    if not (prior > 0).all():
        raise ValueError("prior weights must be above 0")
    seen, prior = np.broadcast_arrays(seen, prior)
    gained = (gammaln(prior + seen) - gammaln(prior)).sum(axis=-1)
    weight, units = prior.sum(axis=-1), seen.sum(axis=-1)
    norm = np.where(weight > 0, gammaln(weight + units) - gammaln(np.maximum(weight, 1e-300)), 0.0)
    return unwrap(np.asarray(gained - norm - xlogy(seen, null).sum(axis=-1)))


def shiryaev_roberts_log_m(x: ArrayLike, m0: float, J: int = 6, start: ArrayLike | None = None) -> Floats:  # noqa: N803
    """Return ln M_j after the observations `x`, the state of `shiryaev_roberts_e`.

    Args:
        x: (observations,) in [0, 1], in the order they came.
        m0: the mean allowed, in (0, 1].
        J: number of bets.
        start: (J,) an earlier result to go on from; None starts at M_j = 0.

    Returns:
        (J,) logarithms; minus infinity before the first observation.

    Raises:
        ValueError: outside that domain.
    """
    values = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if not 0.0 < m0 <= 1.0:
        raise ValueError(f"m0 must lie in (0, 1], got {m0}")
    if J < 1:
        raise ValueError(f"J must be at least 1, got {J}")
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError("x must lie in [0, 1]")
    log_m = np.full(J, -np.inf) if start is None else np.array(start, dtype=np.float64)
    if log_m.shape != (J,):
        raise ValueError(f"start must have {J} entries")
    bets = 2.0 ** -np.arange(1, J + 1) / m0
    if values.size == 0:
        return log_m
    # The recursion unrolled: M_n = G_n (M_0 + sum over i < n of 1 / G_i), with G the running product of the gains.
    running = np.concatenate([np.zeros((1, J)), np.cumsum(np.log1p(bets * (values[:, None] - m0)), axis=0)])
    return np.asarray(running[-1] + np.logaddexp(log_m, logsumexp(-running[:-1], axis=0)))


def shiryaev_roberts_e(x: ArrayLike, m0: float, J: int = 6) -> float:  # noqa: N803
    """Return the e-detector's value after `x`: alarm when it reaches 1 / alpha.

    lambda_j = 2^-j / m0, j = 1..J; M_j <- (M_j + 1)(1 + lambda_j (x - m0)) from M_j = 0; the value is the mean of M_j.
    If E[x | past] <= m0 at every step (m0 fixed beforehand), the expected number of updates to a false alarm is at
    least 1 / alpha. It forgets: a change after a long quiet time is found as fast as one at the start.

    Args:
        x: (observations,) in [0, 1], one a unit, in the order they came.
        m0: the mean allowed, in (0, 1].
        J: number of bets.

    Returns:
        The plain value, not a logarithm; 0 for no observations; infinity past the float64 range.

    Raises:
        ValueError: outside that domain.

    Source: Shin, Ramdas and Rinaldo 2024, "E-detectors".
    """
    log_m = shiryaev_roberts_log_m(x, m0, J)
    log_mean = float(logsumexp(log_m)) - math.log(J) if np.isfinite(log_m).any() else -math.inf
    return math.exp(log_mean) if log_mean < 709.0 else math.inf
