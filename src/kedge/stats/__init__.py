"""Pure functions on counts: numpy in, numbers out. No I/O, no state, no clock.

Reference comes before current. Functions work on the last axis (cells, bins, time) and keep the axes before it, so a
thousand features are one call; one feature in gives one number out. Sequential e-values are returned as natural
logarithms, save `shiryaev_roberts_e`. Input outside a function's domain raises ValueError; empty input never does.
"""

from __future__ import annotations

from .bands import (
    band_excess,
    betting_confidence_sequence,
    betting_log_e,
    empirical_process_constant,
    empirical_process_radius,
)
from .calibration import (
    Calibration,
    accuracy_bounds,
    calibration_error,
    calibration_null,
    cbpe,
    cbpe_thin_share,
)
from .charts import Ewma, TwoSided, cusum, ewma, ewma_limit, page_hinkley, residual_scale, western_electric
from .conformal import adaptive_alpha, conformal_histogram, conformal_quantile, coverage_floor
from .distances import (
    hellinger,
    js_distance,
    ks_binned,
    l_infinity,
    psi,
    psi_corrected,
    total_variation,
    wasserstein_binned,
)
from .harm import harm_e, harm_e_steps, harm_log_k, harm_upper, smallest_detectable_ratio, smallest_ratio
from .rates import binomial_excess, clopper_pearson_upper, tolerance_e, tolerance_rates
from .run_length import cusum_arl, cusum_limit, ewma_arl, shewhart_arl
from .sensitivity import WARN_PSI, minimum_window, smallest_psi
from .sequential import (
    beta_binomial_e,
    dirichlet_multinomial_e,
    shiryaev_roberts_e,
    shiryaev_roberts_log_m,
)
from .significance import Homogeneity, benjamini_hochberg, chi2_test, e_bh, g_test

__all__ = [
    "WARN_PSI",
    "Calibration",
    "Ewma",
    "Homogeneity",
    "TwoSided",
    "accuracy_bounds",
    "adaptive_alpha",
    "band_excess",
    "benjamini_hochberg",
    "beta_binomial_e",
    "betting_confidence_sequence",
    "betting_log_e",
    "binomial_excess",
    "calibration_error",
    "calibration_null",
    "cbpe",
    "cbpe_thin_share",
    "chi2_test",
    "clopper_pearson_upper",
    "conformal_histogram",
    "conformal_quantile",
    "coverage_floor",
    "cusum",
    "cusum_arl",
    "cusum_limit",
    "dirichlet_multinomial_e",
    "e_bh",
    "empirical_process_constant",
    "empirical_process_radius",
    "ewma",
    "ewma_arl",
    "ewma_limit",
    "g_test",
    "harm_e",
    "harm_e_steps",
    "harm_log_k",
    "harm_upper",
    "hellinger",
    "js_distance",
    "ks_binned",
    "l_infinity",
    "minimum_window",
    "page_hinkley",
    "psi",
    "psi_corrected",
    "residual_scale",
    "shewhart_arl",
    "shiryaev_roberts_e",
    "shiryaev_roberts_log_m",
    "smallest_detectable_ratio",
    "smallest_psi",
    "smallest_ratio",
    "tolerance_e",
    "tolerance_rates",
    "total_variation",
    "wasserstein_binned",
    "western_electric",
]
