"""Doubts → how well they tell apart what should be doubted from what should not."""

import math

import numpy as np
from scipy.stats import rankdata

from training.evidence.metrics import Bool, Float64


def auroc(positive: Bool, scores: Float64) -> float:
    """Probability that a positive row scores higher than a negative one, equal scores counting half; both (rows,).

    That is the area under the ROC curve, by ranks (Mann & Whitney 1947; Hanley & McNeil 1982). 0.5 is guessing;
    NaN where all rows are of one kind.
    """
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    if pairs == 0:
        return math.nan
    return float((rankdata(scores)[positive].sum() - positives * (positives + 1) / 2) / pairs)


def auroc_of_strange(usual: Float64, strange: Float64) -> float:
    """`auroc` of doubts about strange rows among those about usual ones, as many of each as there are."""
    scores = np.concatenate([usual, strange])
    return auroc(np.arange(len(scores)) >= len(usual), scores)
