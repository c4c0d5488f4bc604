"""Accuracy and calibration of class probabilities.

Probabilities are (rows, classes), targets class numbers (rows,), throughout.
"""

from typing import NamedTuple

import numpy as np

from training.evidence.metrics import Bool, Float64, Int64

BINS = 15
"""Bins of confidence, of equal width."""


def accuracy(probabilities: Float64, targets: Int64) -> float:
    """Return the share of the rows whose most probable class is the true one."""
    return float(right(probabilities, targets).mean())


def balanced_accuracy(probabilities: Float64, targets: Int64) -> float:
    """Return the mean recall of the classes that have rows (Brodersen et al. 2010)."""
    return float(np.nanmean(recall(probabilities, targets)))


def recall(probabilities: Float64, targets: Int64) -> Float64:
    """Return the share of each class's rows that are predicted as it: (classes,); NaN for a class without rows."""
    classes = probabilities.shape[1]
    rows = np.bincount(targets, minlength=classes)
    found = np.bincount(targets[right(probabilities, targets)], minlength=classes)
    return np.asarray(np.divide(found, rows, out=np.full(classes, np.nan), where=rows > 0))


def nll(probabilities: Float64, targets: Int64, weights: Float64 | None = None) -> float:
    """Return the mean negative log probability of the true class, in nats, weighted by `weights` (rows,) if given."""
    truth = of_truth(probabilities, targets)
    return float(-np.average(np.log(np.maximum(truth, np.finfo(np.float64).tiny)), weights=weights))


def brier(probabilities: Float64, targets: Int64) -> float:
    """Return the mean squared distance from the truth, summed over the classes: 0 to 2 (Brier 1950)."""
    one_hot = np.eye(probabilities.shape[1])[targets]
    return float(np.square(probabilities - one_hot).sum(axis=1).mean())


class Reliability(NamedTuple):
    """Confidence and accuracy of each bin of confidence, without empty bins; each (bins,)."""

    confidence: Float64
    """Mean of the highest probabilities."""
    accuracy: Float64
    """Share of right answers."""
    share: Float64
    """Share of all rows, by their weights."""


def reliability(
    probabilities: Float64, targets: Int64, bins: int = BINS, weights: Float64 | None = None
) -> Reliability:
    """Return the points of a reliability diagram, in bins (low, high] of equal width (Guo et al. 2017).

    `weights` are (rows,).
    """
    confidence, counted = probabilities.max(axis=1), np.ones(len(targets)) if weights is None else weights
    bin_of_row = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(bin_of_row, weights=counted, minlength=bins)
    filled = rows > 0
    sure = np.bincount(bin_of_row, weights=confidence * counted, minlength=bins)
    correct = np.bincount(bin_of_row, weights=right(probabilities, targets) * counted, minlength=bins)
    return Reliability(sure[filled] / rows[filled], correct[filled] / rows[filled], rows[filled] / counted.sum())


def ece(probabilities: Float64, targets: Int64, bins: int = BINS, weights: Float64 | None = None) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins (Guo et al. 2017)."""
    found = reliability(probabilities, targets, bins, weights)
    return float((found.share * np.abs(found.accuracy - found.confidence)).sum())


def right(probabilities: Float64, targets: Int64) -> Bool:
    """Return whether the most probable class is the true one: (rows,)."""
    return np.asarray(probabilities.argmax(axis=1) == targets)


def of_truth(probabilities: Float64, targets: Int64) -> Float64:
    """Return the probability of each row's true class: (rows,)."""
    return probabilities[np.arange(len(targets)), targets]


def set_coverage(members: Bool, targets: Int64) -> float:
    """Return the share of the rows whose prediction set, `members` (rows, classes), contains the true class."""
    return float(members[np.arange(len(targets)), targets].mean())


def set_size(members: Bool) -> float:
    """Return the mean number of classes in a prediction set."""
    return float(members.sum(axis=1).mean())
