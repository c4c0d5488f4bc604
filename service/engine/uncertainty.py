"""Samples → numbers: what an ensemble of thinned networks agrees on, and how far it disagrees.

Pure functions of arrays; axes are (passes, rows, outputs) throughout, entropies are in nats.
The split of the predictive entropy into its expected (aleatoric) and mutual (epistemic) part is that of
Depeweg et al. 2018, "Decomposition of Uncertainty"; mutual information is BALD's score (Houlsby et al. 2011);
the variation ratio is Freeman's (1965). Regression follows the law of total variance (Gal 2016, ch. 3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassUncertainty:
    """What the passes say of each row of a classification."""

    mean: Float64
    """(rows, classes): mean of the passes' probabilities, the consensus."""
    std: Float64
    """(rows, classes): standard deviation over the passes."""
    standard_error: Float64
    """(rows, classes): of `mean`; NaN for a single pass, which tells nothing of it."""
    predictive_entropy: Float64
    """(rows,): H[E p], the total uncertainty."""
    expected_entropy: Float64
    """(rows,): E H[p], what each thinned network is unsure of by itself (aleatoric)."""
    mutual_information: Float64
    """(rows,): H[E p] - E H[p], what they disagree on (epistemic)."""
    variation_ratio: Float64
    """(rows,): share of the passes that voted against the most voted class."""
    votes: Int64
    """(rows, classes): how many passes put each class first."""


@dataclass(frozen=True, slots=True)
class RegressionUncertainty:
    """What the passes say of each row of a regression, in the target's own unit; each (rows, outputs)."""

    mean: Float64
    epistemic_std: Float64
    """Standard deviation over the passes."""
    aleatoric_std: Float64
    """Standard deviation of the noise that the model expects of the target; 0 when it states none."""
    total_std: Float64
    standard_error: Float64
    """Of `mean`; NaN for a single pass."""


Uncertainty = ClassUncertainty | RegressionUncertainty
AnyUncertainty = TypeVar("AnyUncertainty", ClassUncertainty, RegressionUncertainty)

TINY = np.finfo(np.float64).tiny


def softmax(logits: Floats, temperature: float = 1.0) -> Float64:
    """Logits → calibrated probabilities over the last axis (temperature scaling: Guo et al. 2017)."""
    values = np.divide(logits, temperature, dtype=np.float64)
    values -= _largest(values)
    np.exp(values, out=values)
    values /= _sum_outputs(values)[..., None]
    return values


def entropy(probabilities: Float64) -> Float64:
    """Over the last axis, in nats; 0·log 0 counts as 0."""
    surprise = np.log(np.maximum(probabilities, TINY))
    return np.asarray(0.0 - np.vecdot(probabilities, surprise))  # of certainty, 0 and not -0


def summarise_classes(probabilities: Float64) -> ClassUncertainty:
    """Probabilities of every pass, (passes, rows, classes), → what they say of each row."""
    passes, rows, classes = _axes(probabilities)
    mean = mean_of_passes(probabilities)  # (rows, classes)
    std = std_of_passes(probabilities, mean)
    predictive_entropy = entropy(mean)
    expected_entropy = mean_of_passes(entropy(probabilities))  # (rows,)
    winners = probabilities.argmax(axis=-1)  # (passes, rows)
    cells = winners + classes * np.arange(rows)  # each row counts in cells of its own
    votes = np.bincount(cells.ravel(), minlength=rows * classes).reshape(rows, classes)
    return ClassUncertainty(
        mean=mean,
        std=std,
        standard_error=standard_error(std, passes),
        predictive_entropy=predictive_entropy,
        expected_entropy=expected_entropy,
        # Jensen makes it ≥ 0; rounding may not
        mutual_information=np.maximum(predictive_entropy - expected_entropy, 0.0),
        variation_ratio=1.0 - np.maximum.reduce(votes, axis=-1) / passes,
        votes=votes,
    )


def summarise_regression(answers: Float64, noise_std: float | Float64 = 0.0) -> RegressionUncertainty:
    """Answers of every pass, (passes, rows, outputs), → what they say of each row.

    `noise_std` is that of all rows, or what every pass says of each, of the same shape as the answers. Its
    variances are averaged over the passes, so that the total is that of the mixture of their distributions.
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
    """Summaries of some rows each → the summary of all of them, in this order."""
    if len(parts) == 1:
        return parts[0]
    return _by_field(type(parts[0]), lambda name: np.concatenate([getattr(part, name) for part in parts]))


def take_rows(summary: AnyUncertainty, rows: NDArray[np.intp] | slice) -> AnyUncertainty:
    """The summary of these rows, in this order."""
    return _by_field(type(summary), lambda name: getattr(summary, name)[rows])


def _by_field(kind: type[AnyUncertainty], make: Callable[[str], NDArray[Any]]) -> AnyUncertainty:
    return kind(*(make(field.name) for field in fields(kind)))


def standard_error(std: Float64, passes: int) -> Float64:
    """s/√T with the unbiased s; `std` divides by T, hence T - 1 here."""
    if passes < 2:
        return np.full_like(std, np.nan)
    return np.asarray(std / np.sqrt(passes - 1))


def mean_of_passes(samples: Float64) -> Float64:
    """Over the passes, the first axis. Added up in their order, however many rows there are and however they lie in
    memory, so that a row's batch-mates do not change its last digit: numpy would add a lone column in another.
    """
    samples = np.ascontiguousarray(samples)
    alone = samples[0].size == 1
    total = np.add.accumulate(samples, axis=0)[-1] if alone else np.add.reduce(samples, axis=0)
    return np.asarray(total / len(samples))


def std_of_passes(samples: Float64, mean: Float64) -> Float64:
    """Over the passes, the first axis, about their mean."""
    squares = samples - mean
    np.square(squares, out=squares)
    return np.asarray(np.sqrt(mean_of_passes(squares)))


def _largest(values: Float64) -> Float64:
    """Over the last axis, which stays. Where it is short, argmax is many times as fast as max."""
    flat = values.reshape(-1, values.shape[-1])  # (n, outputs)
    largest: Float64 = flat[np.arange(len(flat)), flat.argmax(axis=-1)]
    return largest.reshape(*values.shape[:-1], 1)


def _sum_outputs(values: Float64) -> Float64:
    """Over the last axis. Where it is short, einsum is many times as fast as sum."""
    return np.asarray(np.einsum("...i->...", values))


def _axes(samples: Floats) -> tuple[int, int, int]:
    if samples.ndim != 3 or samples.shape[0] < 1:
        raise ValueError(f"samples must be (passes, rows, outputs) with at least one pass, not {samples.shape}")
    passes, rows, outputs = samples.shape
    return passes, rows, outputs
