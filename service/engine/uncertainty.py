"""Summarise samples: the mean of an ensemble of thinned networks, and how much they disagree.

Pure functions of arrays; axes are (passes, rows, outputs) throughout, entropies are in nats.
The split of the predictive entropy into its expected (aleatoric) and mutual (epistemic) part is that of
Depeweg et al. 2018, "Decomposition of Uncertainty"; mutual information is BALD's score (Houlsby et al. 2011);
the variation ratio is Freeman's (1965). Regression follows the law of total variance (Gal 2016, ch. 3).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassUncertainty:
    """The samples of each row of a classification, summarised."""

    mean: Float64
    """(rows, classes): mean of the probabilities over the samples."""
    std: Float64
    """(rows, classes): standard deviation over the samples."""
    standard_error: Float64
    """(rows, classes): standard error of `mean`; NaN for a single sample."""
    predictive_entropy: Float64
    """(rows,): H[E p], the total uncertainty."""
    expected_entropy: Float64
    """(rows,): E H[p], the aleatoric part: how uncertain each thinned network is by itself."""
    mutual_information: Float64
    """(rows,): H[E p] - E H[p], the epistemic part: how much the networks disagree."""
    variation_ratio: Float64
    """(rows,): fraction of samples whose most probable class is not the most voted one."""
    votes: Int64
    """(rows, classes): number of samples in which each class is the most probable."""


@dataclass(frozen=True, slots=True)
class RegressionUncertainty:
    """The samples of each row of a regression, summarised in the target's unit; each (rows, outputs)."""

    mean: Float64
    epistemic_std: Float64
    """Standard deviation over the samples."""
    aleatoric_std: Float64
    """Standard deviation of the observation noise; 0 without one."""
    total_std: Float64
    """Square root of the sum of both squared."""
    standard_error: Float64
    """Standard error of `mean`; NaN for a single sample."""


Uncertainty = ClassUncertainty | RegressionUncertainty
AnyUncertainty = TypeVar("AnyUncertainty", ClassUncertainty, RegressionUncertainty)

TINY = np.finfo(np.float64).tiny


def softmax(logits: Floats, temperature: float | Float64 = 1.0) -> Float64:
    """Return calibrated probabilities of logits, over the last axis (temperature scaling: Guo et al. 2017).

    `temperature` is a number, or an array that broadcasts to the logits.
    """
    values: Float64 = np.divide(logits, temperature, dtype=np.float64)
    # a short axis is reduced much faster as the first one, and summed much faster by einsum
    by_output = np.ascontiguousarray(values.reshape(-1, values.shape[-1]).T)  # (outputs, n)
    values -= np.maximum.reduce(by_output, axis=0).reshape(*values.shape[:-1], 1)
    np.exp(values, out=values)
    values /= np.einsum("...i->...", values)[..., None]
    return values


def entropy(probabilities: Float64) -> Float64:
    """Return the entropy over the last axis, in nats, with 0·log 0 = 0."""
    surprise = np.log(np.maximum(probabilities, TINY))
    return np.asarray(0.0 - np.vecdot(probabilities, surprise))  # 0 rather than -0 for certainty


def summarise_classes(probabilities: Float64) -> ClassUncertainty:
    """Summarise probabilities (passes, rows, classes) for each row. Raises ValueError for another shape."""
    passes, rows, classes = _axes(probabilities)
    mean = mean_of_passes(probabilities)  # (rows, classes)
    std = std_of_passes(probabilities, mean)
    predictive_entropy = entropy(mean)
    expected_entropy = mean_of_passes(entropy(probabilities))  # (rows,)
    winners = probabilities.argmax(axis=-1)  # (passes, rows)
    cells = winners + np.arange(0, rows * classes, classes)  # each row counts in cells of its own
    votes = np.bincount(cells.ravel(), minlength=rows * classes).reshape(rows, classes)
    return ClassUncertainty(
        mean=mean,
        std=std,
        standard_error=standard_error(std, passes),
        predictive_entropy=predictive_entropy,
        expected_entropy=expected_entropy,
        # at least 0 by Jensen's inequality, but for rounding
        mutual_information=np.maximum(predictive_entropy - expected_entropy, 0.0),
        variation_ratio=1.0 - np.maximum.reduce(votes, axis=-1) / passes,
        votes=votes,
    )


def summarise_regression(answers: Float64, noise_std: float | Float64 = 0.0) -> RegressionUncertainty:
    """Summarise answers (passes, rows, outputs) for each row. Raises ValueError for another shape.

    `noise_std` is the observation noise of all rows, or that of each answer in the shape of the answers. Its variances
    are averaged over the passes, so that the total is the deviation of the mixture of their distributions.
    """
    passes, _, _ = _axes(answers)
    mean = mean_of_passes(answers)
    epistemic_std = std_of_passes(answers, mean)  # (rows, outputs)
    if isinstance(noise_std, np.ndarray):
        aleatoric_std = np.sqrt(mean_of_passes(np.square(noise_std)))
    else:
        aleatoric_std = np.full_like(epistemic_std, noise_std)
    return RegressionUncertainty(
        mean=mean,
        epistemic_std=epistemic_std,
        aleatoric_std=aleatoric_std,
        total_std=np.hypot(epistemic_std, aleatoric_std),
        standard_error=standard_error(epistemic_std, passes),
    )


def join_rows(parts: Sequence[AnyUncertainty]) -> AnyUncertainty:
    """Return the concatenated summary of several ones."""
    if len(parts) == 1:
        return parts[0]
    return _by_field(type(parts[0]), lambda name: np.concatenate([getattr(part, name) for part in parts]))


def take_rows(summary: AnyUncertainty, rows: NDArray[np.intp] | slice) -> AnyUncertainty:
    """Return the summary of these rows, in this order."""
    return _by_field(type(summary), lambda name: getattr(summary, name)[rows])


def _by_field(kind: type[AnyUncertainty], make: Callable[[str], NDArray[Any]]) -> AnyUncertainty:
    return kind(*map(make, kind.__slots__))


def standard_error(std: Float64, passes: int) -> Float64:
    """Return s/√T with the unbiased s, from a `std` that divides by T; NaN for a single pass."""
    if passes < 2:
        return np.full_like(std, np.nan)
    return np.asarray(std / math.sqrt(passes - 1))


def mean_of_passes(samples: Float64) -> Float64:
    """Return the mean over the passes, the first axis.

    The passes are summed in order, for any number of rows and memory layout, so that a row's batch-mates change no bit
    of it: numpy would sum a single column in another order.
    """
    samples = np.ascontiguousarray(samples)
    alone = samples.size == len(samples)
    total: Float64 = np.add.accumulate(samples, axis=0)[-1] if alone else np.add.reduce(samples, axis=0)
    total /= len(samples)
    return total


def std_of_passes(samples: Float64, mean: Float64) -> Float64:
    """Return the standard deviation over the passes, the first axis, about their mean."""
    squares = samples - mean
    np.square(squares, out=squares)
    variance = mean_of_passes(squares)
    return np.sqrt(variance, out=variance)


def _axes(samples: Floats) -> tuple[int, int, int]:
    if samples.ndim != 3 or samples.shape[0] < 1:
        raise ValueError(f"samples must be (passes, rows, outputs) with at least one pass, not {samples.shape}")
    passes, rows, outputs = samples.shape
    return passes, rows, outputs
