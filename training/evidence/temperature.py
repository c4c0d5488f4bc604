"""Fit the temperature that turns logits of validation rows into probabilities."""

import math

import numpy as np
from numpy.typing import NDArray

from service.engine.uncertainty import Float64, softmax
from training.evidence.metrics import Int64
from training.evidence.metrics.classes import nll

Float32 = NDArray[np.float32]

BOUNDS = (0.02, 50.0)
"""Bounds of the search."""
PRIOR = 0.5
"""Standard deviation of the prior of log T. It matters for a few hundred rows, nearly all right, which would otherwise
fit a temperature of certainty; thousands of rows outweigh it.
"""
POINTS = 9
"""Temperatures that each step of the search tries."""
PRECISION = 1.0001
"""The ratio of the bounds at which the search ends."""


def fit_temperature(logits: Float32, targets: Int64, weights: Float64 | None = None) -> float:
    """Return the most probable temperature of logits (passes, rows, classes) whose softmax is averaged over the passes.

    That is temperature scaling (Guo et al. 2017) with a normal prior on log T. Samples get a temperature of their own,
    as the mean of probabilities is less confident than each of them ("pool then calibrate", Rahaman & Thiery 2021). The
    search narrows a geometric grid around its best point. `weights` (rows,) weigh the rows.
    """
    low, high = BOUNDS
    while high / low > PRECISION:
        tried = np.geomspace(low, high, POINTS)
        best = int(np.argmin([loss(logits, targets, float(temperature), weights) for temperature in tried]))
        low, high = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, POINTS - 1)])
    return math.sqrt(low * high)


def loss(logits: Float32, targets: Int64, temperature: float, weights: Float64 | None = None) -> float:
    """Return the negative log posterior of a temperature, in nats a row; weighted rows count as fewer (Kish 1965)."""
    rows = len(targets) if weights is None else weights.sum() ** 2 / np.square(weights).sum()
    return nll(_mean(logits, temperature), targets, weights) + (math.log(temperature) / PRIOR) ** 2 / 2 / rows


def at_bound(found: float, bounds: tuple[float, float]) -> bool:
    """Return whether the search ended at a bound, so that the optimum lies beyond."""
    return not bounds[0] * 1.01 < found < bounds[1] / 1.01


def _mean(logits: Float32, temperature: float) -> Float64:
    """Return mean probabilities (rows, classes) of logits (passes, rows, classes), one pass at a time."""
    total = np.zeros(logits.shape[1:])
    for of_pass in logits:
        total += softmax(of_pass, temperature)
    return total / len(logits)
