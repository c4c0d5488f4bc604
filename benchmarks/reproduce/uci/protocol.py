"""The splits, grids and published figures of the paper and its authors' code.

Sources: Gal & Ghahramani (2016), "Dropout as a Bayesian Approximation", Table 1; results and settings of the authors at
github.com/yaringal/DropoutUncertaintyExps, with the corrected grid search of 2018.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

SPLITS = 20
TRAIN_SHARE = 0.9
FIT_SHARE = 0.8
"""The share of a training part that the grid is fitted to; the rest chooses among it."""
RATES = (0.005, 0.01, 0.05, 0.1)
"""Probabilities p of dropping a unit."""
LENGTH_SCALE = 1e-2
BATCH = 128
TAUS = {"concrete": (0.025, 0.05, 0.075), "energy": (0.25, 0.5, 0.75), "kin8nm": (150.0, 200.0, 250.0)}
"""Precisions of the noise, 1 / (unit of the target)², of the authors' grid for each data set."""
TAU_FACTORS = (0.5, 1.0, 2.0)
"""The grid for any other data set: times one over the mean squared validation residual of a network without dropout."""


class Published(NamedTuple):
    """Mean ± standard error of the test figures over the splits, as printed."""

    rmse: float
    rmse_error: float
    log_likelihood: float
    log_likelihood_error: float

    @property
    def worst(self) -> tuple[float, float]:
        """RMSE and log-likelihood that are one standard error worse."""
        return self.rmse + self.rmse_error, self.log_likelihood - self.log_likelihood_error


PAPER = {
    "concrete": Published(5.23, 0.12, -3.04, 0.02),
    "energy": Published(1.66, 0.04, -1.99, 0.02),
    "kin8nm": Published(0.10, 0.00, 0.95, 0.01),
}
"""Table 1 of the paper: one layer, Bayesian optimisation, a tenth of the epochs."""
CORRECTED = {
    ("concrete", 1): Published(4.82, 0.16, -2.93, 0.02),
    ("energy", 1): Published(0.54, 0.06, -1.21, 0.01),
    ("kin8nm", 1): Published(0.08, 0.00, 1.14, 0.01),
    ("concrete", 2): Published(4.50, 0.18, -2.82, 0.02),
    ("energy", 2): Published(0.47, 0.01, -1.48, 0.00),
    ("kin8nm", 2): Published(0.08, 0.00, 1.10, 0.00),
}
"""The authors' grid search of 2018, by layers."""


def splits(rows: int, count: int = SPLITS) -> Iterator[tuple[Indices, Indices]]:
    """Yield training and test rows of each split, in the order drawn.

    They come from one stream of numpy's legacy generator, seeded with 1, as the authors': a split depends on those
    before.
    """
    random = np.random.RandomState(1)
    for _ in range(count):
        order = random.choice(range(rows), rows, replace=False)
        cut = round(TRAIN_SHARE * rows)
        yield order[:cut], order[cut:]


def weight_decay(p: float, tau: float, rows: int) -> float:
    """Return the factor of the sum of squared weights in the loss: l²(1-p) / (2 N τ), section 4 of the paper."""
    return LENGTH_SCALE**2 * (1 - p) / (2 * rows * tau)
