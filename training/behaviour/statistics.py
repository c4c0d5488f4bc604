"""Bounds: how far a measured number may lie from the true one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, t

from training.evidence.metrics import Float64

CONFIDENCE = 0.95
"""Of each bound over networks, which are one-sided."""
ALARM = 1e-3
"""Probability that any of a claim's many bounds is crossed by chance; divided among them (Bonferroni)."""


class Interval(NamedTuple):
    low: float
    high: float


def clopper_pearson(count: float, of: int, alpha: float) -> Interval:
    """Of a share of independent events (Clopper & Pearson 1934): it misses the true one with probability alpha at most.

    `count` need not be whole, where ties are shared out.
    """
    low = float(beta.ppf(alpha / 2, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - alpha / 2, count + 1, of - count)) if count < of else 1.0
    return Interval(low, high)


def bernstein(variance: Float64, largest: float, alpha: float) -> Float64:
    """What the sum of independent numbers of mean 0 exceeds, in size, with probability alpha at most.

    `variance`: of the sum, (…); `largest`: of any of the numbers, in size (Bernstein 1924; Freedman 1975 where one
    may depend on those before it).
    """
    log = np.log(2 / alpha)
    return np.asarray(log * largest / 3 + np.sqrt((log * largest / 3) ** 2 + 2 * log * variance))


class Mean(NamedTuple):
    """Over networks of several seeds."""

    mean: float
    error: float
    """Standard error; NaN of a single one."""
    low: float
    """What the true mean exceeds with confidence, by Student's t; NaN of a single one, and where all are the same: a
    spread that was not seen bounds nothing."""
    high: float
    """What exceeds the true mean with the same confidence."""

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.error:.4f}" if np.isfinite(self.error) else f"{self.mean:.4f}"


def mean_of(values: ArrayLike) -> Mean:
    """(seeds,) → their mean and how far it can be trusted; what is NaN is left out."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < 2:
        return Mean(float(numbers[0]) if len(numbers) else np.nan, np.nan, np.nan, np.nan)
    error = float(numbers.std(ddof=1) / np.sqrt(len(numbers)))
    mean = float(numbers.mean())
    reach = float(t.ppf(CONFIDENCE, len(numbers) - 1)) * error if error else np.nan
    return Mean(mean, error, mean - reach, mean + reach)
