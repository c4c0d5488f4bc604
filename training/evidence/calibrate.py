"""Fit temperatures or noise on validation rows, and conformal quantiles and abstention thresholds on calibration rows.

Two parts of the data, because the guarantees of quantiles and thresholds hold only if their rows chose nothing else:
neither weights, epoch nor temperature. Pure functions of numpy arrays.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import beta, betabinom

from service.engine.uncertainty import ClassUncertainty, Float64, summarise_regression
from service.model.manifest import AbstentionThreshold, AnyNoise, ConformalQuantile, LearnedNoise, Manifest, Noise
from service.model.runtime import Array
from training.errors import TrainingError
from training.evidence.answers import Answers
from training.evidence.metrics import Int64
from training.evidence.metrics.classes import of_truth
from training.evidence.metrics.values import gaussian_nll
from training.evidence.rows import row_weights
from training.evidence.temperature import fit_temperature

COVERAGES = (0.8, 0.9, 0.95, 0.99)
"""Coverages of the prediction sets."""
SCALES = (0.1, 10.0)
"""Bounds of the factor of a learned noise."""
ERROR_RATES = (0.05, 0.02, 0.01, 0.005)
"""Error rates of the abstention thresholds."""
CONFIDENCE = 0.9
"""Probability that the error rate of the accepted rows is not above the target."""
EXPECTED = 0.99
"""Probability that the coverage of the test rows lies in the expected band."""
SHARES = np.linspace(0.3, 1, 36)
"""Shares of the rows to accept, in the order tried. A smaller first share could fail by a single wrong answer."""


def fit(manifest: Manifest, raw: Array, samples: Array, targets: Array) -> Manifest:
    """Return the manifest with temperatures, or with a regression's noise, fitted to raw outputs of validation rows.

    `raw` is (rows, outputs), `samples` (passes, rows, outputs); targets as in `calibrate`.
    """
    if manifest.task == "regression":
        return manifest.model_copy(update={"noise": noise_of(manifest.noise, samples, targets)})
    weights = row_weights(manifest, targets)
    temperature, sampled = fit_temperature(raw[None], targets, weights), fit_temperature(samples, targets, weights)
    return manifest.model_copy(update={"temperature": temperature, "sampled_temperature": sampled})


def noise_of(known: AnyNoise | None, samples: Array, targets: Array) -> AnyNoise | None:
    """Return the known noise, with a fitted scale where it is learned; fit the noise where none is known.

    `samples` are raw outputs (passes, rows, outputs of the graph). Raises TrainingError for a learned noise below 0.
    """
    if isinstance(known, LearnedNoise):
        means, noise_std = np.split(samples.astype(np.float64), 2, axis=-1)  # each (passes, rows, outputs)
        check_above_0(noise_std)
        return LearnedNoise(learned=True, scale=fit_scale(means, noise_std, targets))
    return known or fit_noise(samples, targets)


def check_above_0(noise_std: Array) -> None:
    """Raise TrainingError unless a learned noise, an array of any shape, is above 0 everywhere."""
    if not (noise_std > 0).all():
        raise TrainingError("noise: learned: the second half of the network's outputs must be above 0")


def fit_scale(means: Float64, noise_std: Float64, targets: Array) -> float:
    """Return the factor of a learned noise under which the targets are most likely, within SCALES.

    Each row's distribution is normal with its total variance: that of the samples' means plus s² times the mean of
    their noise variances. Where the samples agree the best s is the root mean square of error over deviation; otherwise
    there is no closed form, and s is found by bounded minimisation.
    """
    spread = summarise_regression(means, noise_std)

    def nll(log_scale: float) -> float:
        return gaussian_nll(
            spread.mean, np.hypot(spread.epistemic_std, math.exp(log_scale) * spread.aleatoric_std), targets
        )

    bounds = (math.log(SCALES[0]), math.log(SCALES[1]))
    return math.exp(minimize_scalar(nll, bounds=bounds, method="bounded").x)


def fit_noise(samples: Array, targets: Array) -> Noise | None:
    """Return the mean square error of the samples' mean less the samples' variance; None where that is not above 0."""
    values = samples.astype(np.float64)
    variance = float((np.square(targets - values.mean(axis=0)) - values.var(axis=0)).mean())
    return Noise(std=math.sqrt(variance)) if variance > 0 else None


def describe_noise(noise: AnyNoise | None) -> str:
    """Return a short description of the noise."""
    if isinstance(noise, LearnedNoise):
        return f"learned noise times {noise.scale:.3g}"
    return f"noise {noise.std:.3g}" if noise else "no noise"


def calibrate(manifest: Manifest, answers: Answers, targets: Array, test_rows: int = 0) -> Manifest:
    """Return the manifest with conformal quantiles and, for a classification, abstention thresholds.

    Targets are classes (rows,), or a regression's values (rows, outputs). `test_rows` is the number of rows for which
    the expected coverage is computed.
    """
    quantiles = conformal_quantiles(scores(answers, targets), test_rows=test_rows)
    if not isinstance(answers.uncertainty, ClassUncertainty):
        return manifest.model_copy(update={"conformal": quantiles})
    wrong = answers.uncertainty.mean.argmax(axis=1) != targets
    highest = math.log(len(manifest.labels))
    thresholds = abstention_thresholds(answers.uncertainty.predictive_entropy, wrong, highest)
    return manifest.model_copy(update={"conformal": quantiles, "abstention": thresholds})


def scores(answers: Answers, targets: Array) -> Float64:
    """Return the nonconformity of each row's deterministic answer: (rows,).

    For classes 1 - probability of the true class (LAC, Sadinle et al. 2019); for a regression the largest error of its
    outputs, so that all of a row's intervals hold at once. Where the noise is learned an error counts in standard
    deviations of the row's noise (Lei et al. 2018, "Distribution-free predictive inference", section 5.2).
    """
    if isinstance(answers.uncertainty, ClassUncertainty):
        return np.asarray(1.0 - of_truth(answers.deterministic, targets))
    errors = np.abs(answers.deterministic - targets)
    return np.asarray((errors if answers.noise_std is None else errors / answers.noise_std).max(axis=1))


def conformal_quantiles(
    scores: Float64, coverages: Sequence[float] = COVERAGES, test_rows: int = 0
) -> tuple[ConformalQuantile, ...]:
    """Return split-conformal quantiles of scores (rows,) (Vovk et al. 2005), with the expected coverage of the test
    rows.

    The quantile of coverage c is the ⌈(n+1)c⌉-th smallest of the n scores; a coverage whose rank exceeds n is left out.
    """
    ordered = np.sort(scores)
    # (n+1)c as a decimal: 0.9 is not a binary fraction, and a product just above a whole number must not be rounded up
    ranks = {coverage: math.ceil(round((len(ordered) + 1) * coverage, 9)) for coverage in coverages}
    return tuple(
        ConformalQuantile(
            coverage=coverage,
            quantile=float(ordered[rank - 1]),
            expected=expected_coverage(ordered, rank, test_rows) if test_rows else None,
        )
        for coverage, rank in ranks.items()
        if rank <= len(ordered)
    )


def expected_coverage(ordered: Float64, rank: int, test_rows: int) -> tuple[float, float]:
    """Return the central interval, of probability EXPECTED, of the share of test rows within the rank-th of n scores.

    For exchangeable rows without equal scores the count within is beta-binomial, of parameters rank and n + 1 - rank
    (Vovk 2012, "Conditional validity of inductive conformal predictors"; Angelopoulos & Bates 2021, section 3.2). Where
    calibration scores are equal to the quantile more rows may lie within: at most as many as within the next larger
    score.
    """
    n, tail = len(ordered), (1 - EXPECTED) / 2
    within = int(np.searchsorted(ordered, ordered[rank - 1], side="right"))
    last = rank if within == rank else within + 1
    low = betabinom.ppf(tail, test_rows, rank, n + 1 - rank)
    high = betabinom.ppf(1 - tail, test_rows, last, n + 1 - last) if last <= n else test_rows
    return float(low / test_rows), float(high / test_rows)


def abstention_thresholds(
    entropies: Float64, wrong: NDArray[np.bool_], highest: float, error_rates: Sequence[float] = ERROR_RATES
) -> tuple[AbstentionThreshold, ...]:
    """Return for each error rate the largest entropy up to which accepted rows err no more often, with CONFIDENCE.

    Shares of the rows to accept are tried in the order of SHARES, from the first with enough rows to show the error
    rate without a wrong answer, until one fails; the last success is taken. As the order is fixed before any truth is
    seen, the number of tries does not reduce the CONFIDENCE (fixed-sequence testing: Bauer 1991; Angelopoulos et al.
    2021, "Learn then Test"); taking the largest success would.

    When all rows may be accepted the threshold is `highest`, the entropy of a uniform distribution. An error rate that
    these rows cannot show is left out: 0.01 takes 230 rows without an error.
    """
    order = np.argsort(entropies, kind="stable")
    ordered = entropies[order]
    error_rate = upper_bound(np.cumsum(wrong[order]), np.arange(1, len(order) + 1))  # by the number of accepted rows
    ends = np.flatnonzero(np.append(ordered[1:] > ordered[:-1], True)) + 1  # equal entropies are accepted together
    tried = np.unique(ends[np.searchsorted(ends, np.ceil(np.round(SHARES * len(order), 9)))])
    thresholds = []
    for target in error_rates:
        could = tried[tried >= rows_needed(target)]
        held = int(np.cumprod(error_rate[could - 1] <= target).sum())
        if held == 0:
            continue
        accepted = int(could[held - 1])
        threshold = highest if accepted == len(order) else float(ordered[accepted - 1])
        coverage = accepted / len(order)
        thresholds.append(AbstentionThreshold(error_rate=target, threshold=threshold, coverage=coverage))
    return tuple(thresholds)


def rows_needed(error_rate: float) -> int:
    """Return the smallest number of rows, all right, whose `upper_bound` is within an error rate."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - error_rate))


def upper_bound(wrong: Int64, of: Int64) -> Float64:
    """Return the one-sided bound of an error rate at CONFIDENCE, for `wrong` of `of` rows (Clopper & Pearson 1934)."""
    return np.where(wrong < of, beta.ppf(CONFIDENCE, wrong + 1, np.maximum(of - wrong, 1)), 1.0)
