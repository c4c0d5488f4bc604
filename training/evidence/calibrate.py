"""Answers and the truth → what makes them trustworthy: temperatures or noise, conformal quantiles, thresholds.

Two parts of the data, for what quantiles and thresholds promise of new rows holds only if the rows they are
taken from chose nothing else, neither weights, epoch nor temperature. Pure functions of numpy arrays.
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
from training.evidence.evaluate import Answers, Int64, of_truth, row_weights
from training.evidence.metrics.values import gaussian_nll
from training.evidence.temperature import fit_temperature

COVERAGES = (0.8, 0.9, 0.95, 0.99)
SCALES = (0.1, 10.0)
"""Of a learned noise, where its factor is sought."""
ERROR_RATES = (0.05, 0.02, 0.01, 0.005)
CONFIDENCE = 0.9
"""That the error rate of the accepted rows is not above the one aimed at."""
EXPECTED = 0.99
"""Probability that the coverage of the test rows lies where it is expected."""
SHARES = np.linspace(0.3, 1, 36)
"""Of the rows, how many to accept. Starting at fewer would let a single wrong answer among the surest end it."""


def fit(manifest: Manifest, raw: Array, samples: Array, targets: Array) -> Manifest:
    """The manifest with temperatures, or with a regression's noise, from the graphs' raw outputs to validation rows.

    `raw` is (rows, outputs), `samples` (passes, rows, outputs); targets are as below.
    """
    if manifest.task == "regression":
        return manifest.model_copy(update={"noise": noise_of(manifest.noise, samples, targets)})
    weights = row_weights(manifest, targets)
    temperature, sampled = fit_temperature(raw[None], targets, weights), fit_temperature(samples, targets, weights)
    return manifest.model_copy(update={"temperature": temperature, "sampled_temperature": sampled})


def noise_of(known: AnyNoise | None, samples: Array, targets: Array) -> AnyNoise | None:
    """What is known of the noise stays, but for the scale of a learned one; what is not is fitted.

    `samples` are raw: (passes, rows, outputs of the graph). Raises TrainingError for a learned noise below 0.
    """
    if isinstance(known, LearnedNoise):
        means, noise_std = np.split(samples.astype(np.float64), 2, axis=-1)  # each (passes, rows, outputs)
        check_above_0(noise_std)
        return LearnedNoise(learned=True, scale=fit_scale(means, noise_std, targets))
    return known or fit_noise(samples, targets)


def check_above_0(noise_std: Array) -> None:
    """Raises TrainingError for a learned noise that is no deviation: of any shape, whatever the network tells."""
    if not (noise_std > 0).all():
        raise TrainingError("noise: learned: the second half of the network's outputs must be above 0")


def fit_scale(means: Float64, noise_std: Float64, targets: Array) -> float:
    """The factor of a learned noise under which the truth is most likely, within SCALES.

    Each row's distribution is the normal one of its total variance, that of the passes' means and s² times the mean
    of their noise's. Where the passes agree the best s is the root mean square of error over deviation; else no
    formula gives it, and it is searched for.
    """
    spread = summarise_regression(means, noise_std)

    def nll(log_scale: float) -> float:
        return gaussian_nll(
            spread.mean, np.hypot(spread.epistemic_std, math.exp(log_scale) * spread.aleatoric_std), targets
        )

    bounds = (math.log(SCALES[0]), math.log(SCALES[1]))
    return math.exp(minimize_scalar(nll, bounds=bounds, method="bounded").x)


def fit_noise(samples: Array, targets: Array) -> Noise | None:
    """The mean square error of the passes' mean without the variance of the passes; None where nothing is left."""
    values = samples.astype(np.float64)
    variance = float((np.square(targets - values.mean(axis=0)) - values.var(axis=0)).mean())
    return Noise(std=math.sqrt(variance)) if variance > 0 else None


def describe_noise(noise: AnyNoise | None) -> str:
    """In a few words."""
    if isinstance(noise, LearnedNoise):
        return f"learned noise times {noise.scale:.3g}"
    return f"noise {noise.std:.3g}" if noise else "no noise"


def calibrate(manifest: Manifest, answers: Answers, targets: Array, test_rows: int = 0) -> Manifest:
    """The manifest with quantiles, and for a classification thresholds, from the answers that it makes.

    Targets are classes (rows,), or a regression's values (rows, outputs). `test_rows`: how many rows the quantiles
    will be tried on.
    """
    quantiles = conformal_quantiles(scores(answers, targets), test_rows=test_rows)
    if not isinstance(answers.uncertainty, ClassUncertainty):
        return manifest.model_copy(update={"conformal": quantiles})
    wrong = answers.uncertainty.mean.argmax(axis=1) != targets
    highest = math.log(len(manifest.labels))
    thresholds = abstention_thresholds(answers.uncertainty.predictive_entropy, wrong, highest)
    return manifest.model_copy(update={"conformal": quantiles, "abstention": thresholds})


def scores(answers: Answers, targets: Array) -> Float64:
    """How badly each row's deterministic answer fits the truth: (rows,).

    For classes 1 - probability of the truth (LAC, Sadinle et al. 2019); for a regression the largest error
    of its outputs, so that all of a row's intervals hold at once. Where the noise is learned an error counts in
    standard deviations of the row's noise (Lei et al. 2018, "Distribution-free predictive inference", section 5.2).
    """
    if isinstance(answers.uncertainty, ClassUncertainty):
        return np.asarray(1.0 - of_truth(answers.deterministic, targets))
    errors = np.abs(answers.deterministic - targets)
    return np.asarray((errors if answers.noise_std is None else errors / answers.noise_std).max(axis=1))


def conformal_quantiles(
    scores: Float64, coverages: Sequence[float] = COVERAGES, test_rows: int = 0
) -> tuple[ConformalQuantile, ...]:
    """Split-conformal quantiles of scores (rows,) (Vovk et al. 2005), with what to expect of so many test rows.

    The quantile of coverage c is the ⌈(n+1)c⌉-th smallest of the n scores; where n is too small for a
    coverage, so that the rank exceeds n, it is left out.
    """
    ordered = np.sort(scores)
    # (n+1)c is meant exactly: 0.9 is no binary fraction, and a product just above a whole number must not be rounded up
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
    """Lowest and highest share of the test rows within the rank-th of n ordered scores: a central interval of EXPECTED.

    Of exchangeable rows without equal scores the count within is beta-binomial, of parameters rank and n + 1 - rank
    (Vovk 2012, "Conditional validity of inductive conformal predictors"; Angelopoulos & Bates 2021, section 3.2).
    Where calibration scores are equal to the quantile more rows may lie within: at most as many as within the next
    larger score.
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
    """For each error rate the largest entropy below which that of the accepted rows is, with CONFIDENCE, no higher.

    Shares of the rows to accept are tried in the order of SHARES, from the first that enough rows without any
    wrong answer could vouch for, until one fails; the last that held is taken. As the order is set before a
    truth is seen, trying many does not wear the CONFIDENCE out (fixed-sequence testing: Bauer 1991; Angelopoulos
    et al. 2021, "Learn then Test"), which to take the largest of all that hold would.

    When all rows may be accepted it is `highest`, the entropy of knowing nothing. An error rate that these rows
    cannot vouch for is left out: 0.01 takes 230 rows that are all right.
    """
    order = np.argsort(entropies, kind="stable")
    ordered = entropies[order]
    error_rate = upper_bound(np.cumsum(wrong[order]), np.arange(1, len(order) + 1))  # of accepting that many rows
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
    """How few rows can vouch for an error rate, if all are right: the `upper_bound` of none wrong is within it."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - error_rate))


def upper_bound(wrong: Int64, of: Int64) -> Float64:
    """One-sided bound of an error rate at CONFIDENCE, for so many wrong rows of so many (Clopper & Pearson 1934)."""
    return np.where(wrong < of, beta.ppf(CONFIDENCE, wrong + 1, np.maximum(of - wrong, 1)), 1.0)
