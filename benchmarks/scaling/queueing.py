"""The waiting time of Poisson arrivals at one worker."""

import numpy as np
from numpy.typing import NDArray

ARRIVALS = 200_000
SEED = 0


def waits(utilisation: float) -> NDArray[np.float64]:
    """Return waiting times, in service times, of Poisson arrivals to a server with constant service times (M/D/1).

    Lindley's recursion W' = max(0, W + S - A), written as a running minimum, over the same arrivals for every
    utilisation, which is between 0 and 1.
    """
    gaps = np.random.default_rng(SEED).exponential(1 / utilisation, ARRIVALS)
    walk = np.concatenate(([0.0], np.cumsum(1 - gaps)))
    return np.asarray(walk - np.minimum.accumulate(walk))


def quantile(utilisation: float, q: float) -> float:
    """Return a quantile of the waiting times, in service times."""
    return float(np.quantile(waits(utilisation), q))


def busiest(allowed: float, q: float = 0.99) -> float:
    """Return the highest utilisation, in hundredths, whose quantile is at most `allowed` service times; 0 if
    none is.
    """
    return max((step / 100 for step in range(1, 96) if quantile(step / 100, q) <= allowed), default=0.0)
