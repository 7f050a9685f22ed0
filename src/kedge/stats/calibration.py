"""Are probabilities true: calibration error against its own null, and performance estimated without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import chdtrc

from ._counts import Floats, counts, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


# Probabilities are counted in units of 2^-32; a variance below one unit is none, and must not be divided by.
_NO_VARIANCE = 2.0**-32


class Calibration(NamedTuple):
    """Calibration over reliability bins; each field has the shape of the leading axes.

    Attributes:
        ece: expected calibration error as it is measured, in [0, 1].
        ece_corrected: ECE* = max(0, ECE - E0), what is left above chance.
        null_mean: E0, what a perfectly calibrated model shows on these rows.
        null_sd: standard deviation of that.
        statistic: sum S_b^2 / v_b.
        dof: bins that could be tested.
        p_value: of the statistic against chi-square; 1 where nothing could be tested.
    """

    ece: Floats
    ece_corrected: Floats
    null_mean: Floats
    null_sd: Floats
    statistic: Floats
    dof: Floats
    p_value: Floats


def calibration_null(v: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the calibration error of a perfectly calibrated model.

    E0 = (1/n) sum sqrt(2 v_b / pi), sd0 = (1/n) sqrt(sum v_b (1 - 2 / pi)): each bin's surplus is about normal with
    variance v_b, and the mean of |normal| is sqrt(2 / pi) of its deviation.

    Args:
        v: (..., bins) sum of p (1 - p) over the rows of each bin.
        n: (...) rows in all bins.

    Returns:
        (E0, sd0), each (...); 0 for n = 0.

    Raises:
        ValueError: v is negative.
    """
    variances, rows = counts(v, "v"), np.asarray(n, dtype=np.float64)
    share = np.divide(1.0, rows, out=np.zeros_like(rows), where=rows > 0)
    mean = share * np.sqrt(2.0 * variances / np.pi).sum(axis=-1)
    deviation = share * np.sqrt(variances.sum(axis=-1) * (1.0 - 2.0 / np.pi))
    return unwrap(np.asarray(mean)), unwrap(np.asarray(deviation))


def calibration_error(n: ArrayLike, sum_p: ArrayLike, sum_y: ArrayLike, v: ArrayLike) -> Calibration:
    """Judge probabilities against outcomes over reliability bins.

    S_b = sum y - sum p; ECE = (1/n) sum |S_b|, ECE* = max(0, ECE - E0) with E0 from `calibration_null`; the test is
    sum S_b^2 / v_b against chi-square with B degrees of freedom (Spiegelhalter's z by bins).

    Args:
        n: (..., bins) rows.
        sum_p: (..., bins) sum of predicted probabilities.
        sum_y: (..., bins) sum of outcomes, each 0 or 1.
        v: (..., bins) sum of p (1 - p).

    Empty bins are left out; no rows give zeros and p = 1. A bin whose probabilities were all 0 or 1 (v_b below the
    2^-32 that the kernel counts in) is left out where they were right and makes the statistic infinite where one was
    wrong.

    Raises:
        ValueError: a negative or NaN entry, or numbers of bins that differ.

    Source: Naeini and others 2015 (ECE); Spiegelhalter 1986 (the test).
    """
    rows, predicted, observed, variance = (
        counts(part, name) for part, name in ((n, "n"), (sum_p, "sum_p"), (sum_y, "sum_y"), (v, "v"))
    )
    if len({part.shape[-1] for part in (rows, predicted, observed, variance)}) > 1:
        raise ValueError("n, sum_p, sum_y and v must have the same number of bins")
    rows, predicted, observed, variance = np.broadcast_arrays(rows, predicted, observed, variance)
    total = rows.sum(axis=-1)
    surplus = np.where(rows > 0, observed - predicted, 0.0)
    # Sums of many probabilities carry rounding; that much surplus is no evidence against a certain bin.
    wrong = np.abs(surplus) > 1e-9 * np.maximum(rows, 1.0)
    ece = np.divide(np.abs(surplus).sum(axis=-1), total, out=np.zeros_like(total), where=total > 0)
    null_mean, null_sd = calibration_null(np.where(rows > 0, variance, 0.0), total)
    soft = (rows > 0) & (variance >= _NO_VARIANCE)
    certain = (rows > 0) & ~soft & wrong
    terms = np.divide(surplus**2, variance, out=np.zeros_like(surplus), where=soft)
    statistic = np.where(certain.any(axis=-1), np.inf, terms.sum(axis=-1))
    dof = (soft | certain).sum(axis=-1).astype(np.float64)
    p_value = np.where(dof > 0, chdtrc(np.maximum(dof, 1.0), statistic), 1.0)
    corrected = np.maximum(0.0, ece - null_mean)
    return Calibration(
        unwrap(ece), unwrap(corrected), null_mean, null_sd, unwrap(statistic), unwrap(dof), unwrap(p_value)
    )


def cbpe(n: ArrayLike, m: ArrayLike, k: ArrayLike) -> tuple[Floats, Floats]:
    """Estimate accuracy without labels from confidence: (estimate, standard error).

    a_b = (k_b + 0.5) / (m_b + 1) from calibration, w_b = n_b / n; estimate sum w_b a_b, variance
    sum w_b^2 a_b (1 - a_b) / (m_b + 1) + sum w_b a_b (1 - a_b) / n. An estimate that concept drift can fool: it assumes
    that a confidence means today what it meant at calibration.

    Args:
        n: (..., bins) rows now, by bin of confidence.
        m: (..., bins) calibration rows in the same bins.
        k: (..., bins) of those, the right ones.

    Returns:
        Each (...); (0.5, 0.5), which says nothing, for no rows.

    Raises:
        ValueError: a negative count, k > m, or numbers of bins that differ.

    Source: Guo and others 2017 for confidence by bins; the estimate as NannyML's CBPE.
    """
    now, calibrated = counts(n, "n"), counts(m, "m")
    right = counts(k, "k")
    if len({part.shape[-1] for part in (now, calibrated, right)}) > 1:
        raise ValueError("n, m and k must have the same number of bins")
    if not (right <= calibrated).all():
        raise ValueError("k must not be above m in any bin")
    total = now.sum(axis=-1)
    some = total > 0
    weight = now / np.maximum(total, 1.0)[..., None]
    accuracy = (right + 0.5) / (calibrated + 1.0)
    spread = accuracy * (1.0 - accuracy)
    variance = (weight**2 * spread / (calibrated + 1.0)).sum(axis=-1)
    variance = variance + (weight * spread).sum(axis=-1) / np.maximum(total, 1.0)
    estimate = (weight * accuracy).sum(axis=-1)
    return unwrap(np.where(some, estimate, 0.5)), unwrap(np.where(some, np.sqrt(variance), 0.5))


def cbpe_thin_share(n: ArrayLike, m: ArrayLike, least: int = 30) -> Floats:
    """Return the share of rows in bins with fewer than `least` calibration rows.

    Above 0.05 the estimate of `cbpe` is `INSUFFICIENT`.

    Args:
        n: (..., bins) rows now.
        m: (..., bins) calibration rows.
        least: calibration rows a bin needs.

    Returns:
        (...) in [0, 1]; 0 for no rows.
    """
    now, calibrated = counts(n, "n"), counts(m, "m")
    total = now.sum(axis=-1)
    return unwrap(np.where(calibrated < least, now, 0.0).sum(axis=-1) / np.maximum(total, 1.0))


def accuracy_bounds(accuracy: ArrayLike, labelled: ArrayLike) -> tuple[Floats, Floats]:
    """Return the worst and best accuracy that the rows without a label allow: [c a, c a + 1 - c].

    Args:
        accuracy: (...) a, measured on the labelled rows, in [0, 1].
        labelled: (...) c, share of rows with a label, in [0, 1].

    Returns:
        Each (...); (0, 1) for no labels.

    Raises:
        ValueError: outside that domain.

    Source: Manski 1989 (bounds without assumptions on what is missing).
    """
    a, c = np.asarray(accuracy, dtype=np.float64), np.asarray(labelled, dtype=np.float64)
    if not (((a >= 0) & (a <= 1)).all() and ((c >= 0) & (c <= 1)).all()):
        raise ValueError("accuracy and labelled must lie in [0, 1]")
    return unwrap(np.asarray(c * a)), unwrap(np.asarray(c * a + 1.0 - c))
