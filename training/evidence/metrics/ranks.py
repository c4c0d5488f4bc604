"""Compare the order of rows by two scores."""

import math

import numpy as np
from scipy.stats import rankdata

from training.evidence.metrics import Float64


def rank_correlation(one: Float64, other: Float64) -> float:
    """Return Spearman's correlation of two scores (rows,), equal scores sharing their mean rank; NaN where either is
    constant.
    """
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.clip(np.corrcoef(rankdata(one), rankdata(other))[0, 1], -1, 1))
