"""The paper's two figures, and their mean and standard error over splits."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Samples = NDArray[np.float32] | NDArray[np.float64]
Float64 = NDArray[np.float64]


def rmse(samples: Samples, targets: Float64) -> float:
    """Return the root mean squared error of the samples' mean: (passes, rows) and (rows,), in the target's unit."""
    return float(np.sqrt(np.mean((samples.mean(axis=0, dtype=np.float64) - targets) ** 2)))


def log_likelihood(samples: Samples, targets: Float64, tau: float) -> float:
    """Return the mean log density of the targets, nats a row: (passes, rows) and (rows,), τ in 1 / (unit of the
    target)².

    The density is an equal mixture of normal ones of precision τ around each sample: section 4 of the paper.
    """
    exponents = -0.5 * tau * (targets - samples.astype(np.float64)) ** 2  # (passes, rows)
    each = logsumexp(exponents, axis=0) - math.log(len(samples)) - 0.5 * math.log(2 * math.pi) + 0.5 * math.log(tau)
    return float(np.mean(each))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard error over splits as the authors define it: the population's deviation / √splits."""
    return float(np.mean(values)), float(np.std(values) / math.sqrt(len(values)))
