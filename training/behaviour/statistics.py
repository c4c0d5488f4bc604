"""Bounds of the true value of a measured number."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, t

from training.evidence.metrics import Float64

CONFIDENCE = 0.95
"""Confidence of each one-sided bound over networks."""
ALARM = 1e-3
"""Probability that any of a claim's many bounds is crossed by chance; divided among them (Bonferroni)."""


class Interval(NamedTuple):
    """The lower and upper bound of a number."""

    low: float
    high: float


def clopper_pearson(count: float, of: int, alpha: float) -> Interval:
    """Return the interval of a share of independent events (Clopper & Pearson 1934), wrong with probability at most
    alpha.

    `count` need not be whole, where ties are divided.
    """
    low = float(beta.ppf(alpha / 2, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - alpha / 2, count + 1, of - count)) if count < of else 1.0
    return Interval(low, high)


def bernstein(variance: Float64, largest: float, alpha: float) -> Float64:
    """Return the size that a sum of independent numbers of mean 0 exceeds with probability at most alpha.

    `variance` is that of the sum, (…); `largest` the largest size of a number (Bernstein 1924; Freedman 1975 for
    numbers that depend on earlier ones).
    """
    log = np.log(2 / alpha)
    return np.asarray(log * largest / 3 + np.sqrt((log * largest / 3) ** 2 + 2 * log * variance))


class Mean(NamedTuple):
    """The mean over networks of several seeds."""

    mean: float
    error: float
    """Standard error; NaN for a single value."""
    low: float
    """The lower bound of the true mean by Student's t; NaN for a single value, and without variation, which gives no
    bound.
    """
    high: float
    """The upper bound, with the same confidence."""

    def __str__(self) -> str:
        """Return mean and standard error."""
        return f"{self.mean:.4f} ± {self.error:.4f}" if np.isfinite(self.error) else f"{self.mean:.4f}"


def mean_of(values: ArrayLike) -> Mean:
    """Return the mean of values (seeds,) and its bounds; NaN is left out."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < 2:
        return Mean(float(numbers[0]) if len(numbers) else np.nan, np.nan, np.nan, np.nan)
    error = float(numbers.std(ddof=1) / np.sqrt(len(numbers)))
    mean = float(numbers.mean())
    reach = float(t.ppf(CONFIDENCE, len(numbers) - 1)) * error if error else np.nan
    return Mean(mean, error, mean - reach, mean + reach)
