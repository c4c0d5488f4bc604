"""Accuracy and calibration of a regression's values or normal distributions.

All arrays are (rows, outputs), in the targets' own unit.
"""

import math

import numpy as np
from scipy.stats import norm

from training.evidence.metrics import Float64


def rmse(values: Float64, targets: Float64) -> float:
    """Return the root mean square error over all rows and outputs."""
    return float(np.sqrt(np.square(values - targets).mean()))


def mae(values: Float64, targets: Float64) -> float:
    """Return the mean absolute error over all rows and outputs."""
    return float(np.abs(values - targets).mean())


def gaussian_nll(mean: Float64, std: Float64, targets: Float64) -> float:
    """Return the mean negative log density of the truth under normal distributions, in nats; NaN where a deviation is
    0.
    """
    if not (std > 0).all():
        return math.nan
    return float(-norm.logpdf(targets, mean, std).mean())


def crps(mean: Float64, std: Float64, targets: Float64) -> float:
    """Return the mean continuous ranked probability score of normal distributions, in the targets' unit.

    σ (z (2Φ(z) - 1) + 2φ(z) - 1/√π) with z = (y - μ)/σ (Gneiting & Raftery 2007, section 4.2); for σ = 0 it is the
    absolute error, so that it compares with deterministic answers.
    """
    error = np.abs(targets - mean)
    z = np.divide(error, std, out=np.zeros_like(error), where=std > 0)
    spread = error * (2 * norm.cdf(z) - 1) + std * (2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    return float(np.where(std > 0, spread, error).mean())


def gaussian_half_width(std: Float64, coverage: float) -> Float64:
    """Return the half widths of intervals about the mean of normal distributions: (rows, outputs).

    All outputs of a row are covered at once with probability `coverage` if their errors are independent (Šidák 1967).
    """
    return np.asarray(std * norm.ppf((1 + coverage ** (1 / std.shape[1])) / 2))


def interval_coverage(values: Float64, half_width: Float64, targets: Float64) -> float:
    """Return the share of the rows that have all their outputs within `half_width` of the truth."""
    return float((np.abs(values - targets) <= half_width).all(axis=1).mean())


def error_correlation(values: Float64, std: Float64, targets: Float64) -> float:
    """Return Pearson's correlation of the absolute error and the stated deviation; NaN where either is constant."""
    error = np.abs(values - targets).ravel()
    deviation = std.ravel()
    if np.ptp(error) == 0 or np.ptp(deviation) == 0:
        return math.nan
    return float(np.corrcoef(error, deviation)[0, 1])
