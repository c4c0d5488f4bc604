"""Measure how well a score separates two kinds of rows."""

import math

import numpy as np
from scipy.stats import rankdata

from training.evidence.metrics import Bool, Float64


def auroc(positive: Bool, scores: Float64) -> float:
    """Return the probability that a positive row scores higher than a negative one, equal scores counting half.

    That is the area under the ROC curve, by ranks (Mann & Whitney 1947; Hanley & McNeil 1982). Both arrays are (rows,).
    0.5 is guessing; NaN where all rows are of one kind.
    """
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    if pairs == 0:
        return math.nan
    return float((rankdata(scores)[positive].sum() - positives * (positives + 1) / 2) / pairs)


def auroc_of_ood(test: Float64, ood: Float64) -> float:
    """Return the `auroc` of the uncertainty of OOD rows among test rows, of any number of each."""
    scores = np.concatenate([test, ood])
    return auroc(np.arange(len(scores)) >= len(test), scores)
