"""Validation rows → temperature, conformal quantiles and abstention thresholds. Pure functions of numpy arrays."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.manifest import AbstentionThreshold, ConformalQuantile, Manifest
from service.uncertainty import Float64, softmax
from training.evaluate import Answers, of_truth

Int64 = NDArray[np.int64]

COVERAGES = (0.8, 0.9, 0.95, 0.99)
ERROR_RATES = (0.05, 0.02, 0.01, 0.005)
TEMPERATURES = (0.02, 50.0)
"""Where a temperature is sought."""
HALVINGS = 60


def calibrate(manifest: Manifest, answers: Answers, targets: Int64) -> Manifest:
    """The manifest with quantiles and thresholds, from the answers given at its temperature to rows (rows,)."""
    spread = answers.uncertainty
    wrong = spread.mean.argmax(axis=1) != targets
    highest = math.log(len(manifest.labels))
    return manifest.model_copy(
        update={
            "conformal": conformal_quantiles(answers.deterministic, targets),
            "abstention": abstention_thresholds(spread.predictive_entropy, wrong, highest),
        }
    )


def fit_temperature(logits: NDArray[np.float32], targets: Int64) -> float:
    """The temperature of least negative log likelihood (Guo et al. 2017), for logits (rows, classes).

    That likelihood is convex in 1/T, so halving an interval by the sign of its slope finds it. A network that
    is right on every row has no such temperature, lower is always better: it keeps 1.
    """
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if (logits.argmax(axis=1) == targets).all():
        return 1.0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if _slope(logits, targets, middle) < 0:
            low = middle
        else:
            high = middle
    return 1 / middle


def _slope(logits: NDArray[np.float32], targets: Int64, inverse: float) -> float:
    """Of the NLL over 1/T: the logit expected under the probabilities minus the true class's, mean over the rows."""
    expected = (softmax(logits, 1 / inverse) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(targets)), targets]).mean())


def conformal_quantiles(
    probabilities: Float64, targets: Int64, coverages: Sequence[float] = COVERAGES
) -> tuple[ConformalQuantile, ...]:
    """Split-conformal quantiles of the LAC score, 1 - probability of the truth (Sadinle et al. 2019).

    The quantile of coverage c is the ⌈(n+1)c⌉-th smallest of the n scores; where n is too small for a
    coverage, so that the rank exceeds n, it is left out.
    """
    scores = np.sort(1.0 - of_truth(probabilities, targets))
    # (n+1)c is meant exactly: 0.9 is no binary fraction, and a product just above a whole number must not be rounded up
    ranks = {coverage: math.ceil(round((len(scores) + 1) * coverage, 9)) for coverage in coverages}
    return tuple(
        ConformalQuantile(coverage=coverage, quantile=float(scores[rank - 1]))
        for coverage, rank in ranks.items()
        if rank <= len(scores)
    )


def abstention_thresholds(
    entropies: Float64, wrong: NDArray[np.bool_], highest: float, error_rates: Sequence[float] = ERROR_RATES
) -> tuple[AbstentionThreshold, ...]:
    """For each error rate the largest entropy below which no larger share of the accepted rows is wrong.

    When all rows may be accepted it is `highest`, the entropy of knowing nothing; when none may, it is left out.
    """
    order = np.argsort(entropies, kind="stable")
    ordered = entropies[order]
    error_rate = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)  # of accepting that many rows
    can_stop = np.append(ordered[1:] > ordered[:-1], True)  # equal entropies are accepted together
    thresholds = []
    for target in error_rates:
        counts = np.flatnonzero(can_stop & (error_rate <= target)) + 1
        if len(counts) == 0:
            continue
        accepted = int(counts[-1])
        threshold = highest if accepted == len(order) else float(ordered[accepted - 1])
        coverage = accepted / len(order)
        thresholds.append(AbstentionThreshold(error_rate=target, threshold=threshold, coverage=coverage))
    return tuple(thresholds)
