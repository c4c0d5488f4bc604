import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.engine.uncertainty import summarise_classes, summarise_regression
from training.evidence.answers import Answers
from training.evidence.calibrate import (
    CONFIDENCE,
    SHARES,
    abstention_thresholds,
    conformal_quantiles,
    fit_noise,
    rows_needed,
    scores,
    upper_bound,
)


def test_quantiles_have_the_rank_of_the_finite_sample() -> None:
    scores = np.arange(1, 20) / 100  # 19 scores: 0.9 of 20 is rank 18
    quantiles = conformal_quantiles(scores, (0.5, 0.9, 0.95, 0.99))
    assert [q.coverage for q in quantiles] == [0.5, 0.9, 0.95]  # 0.99 would need rank 20 of 19
    assert [q.quantile for q in quantiles] == pytest.approx([0.10, 0.18, 0.19])


def test_prediction_sets_cover_as_often_as_they_say() -> None:
    """Coverage over many calibrations is known exactly: ⌈(n+1)c⌉/(n+1), with a beta distribution's spread."""
    rng = np.random.default_rng(1)
    n, coverage, trials = 99, 0.9, 400
    found = []
    for _ in range(trials):
        (quantile,) = conformal_quantiles(rng.uniform(size=n), (coverage,))
        found.append(quantile.quantile)  # of uniform scores this is the coverage itself
    exact = stats.beta(90, 10)
    assert abs(np.mean(found) - exact.mean()) < 4 * exact.std() / math.sqrt(trials)


def test_scores_of_classes_and_of_values() -> None:
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6]])
    classes = Answers(probabilities, summarise_classes(probabilities[None]))
    assert scores(classes, np.array([0, 0])) == pytest.approx([0.3, 0.6])
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    regression = Answers(values, summarise_regression(values[None]))
    assert scores(regression, np.array([[1.5, 0.0], [3.0, 4.1]])) == pytest.approx([2.0, 0.1])


def test_the_upper_bound_is_that_of_clopper_and_pearson() -> None:
    wrong, of = np.array([0, 1, 7, 5, 0]), np.array([229, 100, 50, 5, 230])
    exact = [stats.binomtest(int(k), int(n)).proportion_ci(0.8).high for k, n in zip(wrong, of, strict=True)]
    assert upper_bound(wrong, of) == pytest.approx(exact)
    assert upper_bound(wrong, of)[0] > 0.01 > upper_bound(wrong, of)[4]  # why 0.01 takes 230 rows


def test_thresholds_of_a_case_done_by_hand() -> None:
    """Of 100 rows numbers 70, 97, … 100 are wrong. Bounds by tables: 0 of 69 0.033, 1 of 76 0.050, 5 of 100 0.091."""
    entropies = np.arange(1, 101) / 100
    wrong = np.zeros(100, dtype=bool)
    wrong[[69, 96, 97, 98, 99]] = True
    found = abstention_thresholds(entropies, wrong, math.log(3), (0.1, 0.0525, 0.04, 0.02))
    # 0.0525 fails at the 70th row, though the bound at the 96th would be within it again
    assert upper_bound(np.array([1]), np.array([96]))[0] < 0.0525 < upper_bound(np.array([1]), np.array([70]))[0]
    assert [(t.error_rate, t.threshold, t.coverage) for t in found] == [
        (0.1, math.log(3), 1.0),
        (0.0525, 0.68, 0.68),
        (0.04, 0.68, 0.68),
    ]


def test_equal_entropies_are_accepted_together() -> None:
    entropies = np.array([0.1] * 40 + [0.2] * 60)
    wrong = np.arange(100) >= 97
    found = abstention_thresholds(entropies, wrong, math.log(2), (0.07, 0.06))
    assert [(t.threshold, t.coverage) for t in found] == [(math.log(2), 1.0), (0.1, 0.4)]
    without_ties = abstention_thresholds(np.arange(100) / 100, wrong, math.log(2), (0.06,))
    assert [t.coverage for t in without_ties] == [0.98]


def test_an_error_rate_that_the_rows_cannot_vouch_for_is_left_out() -> None:
    few = np.zeros(229, dtype=bool)
    assert abstention_thresholds(np.linspace(0, 1, 229), few, math.log(2), (0.01,)) == ()


def test_thresholds_hold_with_the_stated_confidence() -> None:
    """Rows of one entropy, so that nothing is chosen: with CONFIDENCE the true error rate is not above the aim."""
    rng, trials, n, rate = np.random.default_rng(2), 2000, 300, 0.05
    entropies = np.zeros(n)
    broken = sum(
        bool(abstention_thresholds(entropies, rng.uniform(size=n) < rate, 1.0, (rate,))) for _ in range(trials)
    )
    assert broken <= stats.binom(trials, 1 - CONFIDENCE).ppf(0.999)
    assert broken > 0


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5]), st.booleans()), min_size=1), st.floats(0.01, 0.99)
)
def test_a_threshold_vouches_for_its_rate(rows: list[tuple[float, bool]], rate: float) -> None:
    """And so does every lower one that may be tried and that enough rows can vouch for."""
    entropies, wrong = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    for threshold in abstention_thresholds(entropies, wrong, 1.0, (rate,)):
        accepted = entropies <= threshold.threshold
        assert threshold.coverage == accepted.mean()
        for lower in np.unique(entropies[accepted]):
            few = entropies <= lower
            if few.mean() >= SHARES[0] and few.sum() >= rows_needed(rate):
                assert upper_bound(wrong[few].sum(), few.sum()) <= rate


def test_so_many_rows_are_needed() -> None:
    assert [rows_needed(rate) for rate in (0.05, 0.01, 0.005)] == [45, 230, 460]


def test_noise_is_what_the_passes_leave_unexplained() -> None:
    rng = np.random.default_rng(4)
    samples = rng.normal(size=(50, 4000, 1)).astype(np.float32)
    explained = samples.astype(np.float64).var(axis=0).mean()
    truth = samples.mean(axis=0) + rng.normal(scale=math.sqrt(explained + 0.09), size=(4000, 1))
    noise = fit_noise(samples, truth)
    assert noise is not None
    assert noise.std == pytest.approx(0.3, rel=0.3)
    assert fit_noise(samples, samples.mean(axis=0)) is None
