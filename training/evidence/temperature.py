"""Logits of validation rows → the temperature that makes probabilities of them."""

import math

import numpy as np
from numpy.typing import NDArray

from service.engine.uncertainty import Float64, softmax
from training.evidence.evaluate import Int64, nll

Float32 = NDArray[np.float32]

BOUNDS = (0.02, 50.0)
"""Where a temperature is sought."""
PRIOR = 0.5
"""Standard deviation of log T before any row was seen. A few hundred rows, nearly all right, say little of T, and
without this would be taken for a reason to be sure of everything; thousands of rows outweigh it."""
POINTS = 9
PRECISION = 1.0001


def fit_temperature(logits: Float32, targets: Int64, weights: Float64 | None = None) -> float:
    """The most probable temperature of logits (passes, rows, classes) whose softmax is averaged over the passes.

    That is temperature scaling (Guo et al. 2017) with a normal prior on log T. Thinned networks get a temperature
    of their own, as the mean of probabilities is less sure than each of them ("pool then calibrate", Rahaman &
    Thiery 2021). The best of a row of temperatures is sought, then between its neighbours, and so on. With `weights`
    (rows,) each row counts by its own.
    """
    low, high = BOUNDS
    while high / low > PRECISION:
        tried = np.geomspace(low, high, POINTS)
        best = int(np.argmin([loss(logits, targets, float(temperature), weights) for temperature in tried]))
        low, high = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, POINTS - 1)])
    return math.sqrt(low * high)


def loss(logits: Float32, targets: Int64, temperature: float, weights: Float64 | None = None) -> float:
    """Negative log posterior of a temperature, in nats a row; rows of unequal weight count as fewer (Kish 1965)."""
    rows = len(targets) if weights is None else weights.sum() ** 2 / np.square(weights).sum()
    return nll(_mean(logits, temperature), targets, weights) + (math.log(temperature) / PRIOR) ** 2 / 2 / rows


def at_bound(found: float, bounds: tuple[float, float]) -> bool:
    """Whether it was stopped by the bounds, so that the best one lies beyond."""
    return not bounds[0] * 1.01 < found < bounds[1] / 1.01


def _mean(logits: Float32, temperature: float) -> Float64:
    """(passes, rows, classes) → probabilities (rows, classes), a pass at a time to spare memory."""
    total = np.zeros(logits.shape[1:])
    for of_pass in logits:
        total += softmax(of_pass, temperature)
    return total / len(logits)
