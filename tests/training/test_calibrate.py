import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from service.uncertainty import softmax
from training.calibrate import abstention_thresholds, conformal_quantiles, fit_temperature


def drawn_at(temperature: float, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn from their softmax at this temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, size=(rows, 5)).astype(np.float32)
    gumbel = rng.gumbel(size=logits.shape)
    return logits, (logits / temperature + gumbel).argmax(axis=1)


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_is_that_of_least_nll(truth: float) -> None:
    logits, targets = drawn_at(truth, 4000)

    def loss(log_t: float) -> float:
        return float(-np.log(softmax(logits, math.exp(log_t)))[np.arange(4000), targets].mean())

    found = fit_temperature(logits, targets)
    best = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert found == pytest.approx(math.exp(best.x), rel=1e-5)
    assert found == pytest.approx(truth, rel=0.1)


def test_a_network_that_is_always_right_keeps_its_temperature() -> None:
    assert fit_temperature(np.eye(3, dtype=np.float32), np.arange(3)) == 1.0


def test_quantiles_have_the_rank_of_the_finite_sample() -> None:
    scores = np.arange(1, 20) / 100  # 19 scores: 0.9 of 20 is rank 18
    probabilities = np.column_stack([1 - scores, scores])
    quantiles = conformal_quantiles(probabilities, np.zeros(19, dtype=np.int64), (0.5, 0.9, 0.95, 0.99))
    assert [q.coverage for q in quantiles] == [0.5, 0.9, 0.95]  # 0.99 would need rank 20 of 19
    assert [q.quantile for q in quantiles] == pytest.approx([0.10, 0.18, 0.19])


def test_prediction_sets_cover_as_often_as_they_say() -> None:
    """Coverage over many calibrations is known exactly: ⌈(n+1)c⌉/(n+1), with a beta distribution's spread."""
    rng = np.random.default_rng(1)
    n, coverage, trials = 99, 0.9, 400
    found = []
    for _ in range(trials):
        scores = rng.uniform(size=n)
        probabilities = np.column_stack([1 - scores, scores])
        (quantile,) = conformal_quantiles(probabilities, np.zeros(n, dtype=np.int64), (coverage,))
        found.append(quantile.quantile)  # of uniform scores this is the coverage itself
    exact = stats.beta(90, 10)
    assert abs(np.mean(found) - exact.mean()) < 4 * exact.std() / math.sqrt(trials)


def test_thresholds_of_a_case_done_by_hand() -> None:
    entropies = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    wrong = np.array([False, False, True, False, True])  # error rates 0, 0, 1/3, 1/4, 2/5
    found = abstention_thresholds(entropies, wrong, math.log(3), (0.5, 0.3, 0.2))
    assert [(t.error_rate, t.threshold, t.coverage) for t in found] == [
        (0.5, math.log(3), 1.0),
        (0.3, 0.4, 0.8),
        (0.2, 0.2, 0.4),
    ]


def test_equal_entropies_are_accepted_together() -> None:
    found = abstention_thresholds(np.array([0.1, 0.2, 0.2]), np.array([False, False, True]), math.log(2), (0.1,))
    assert [(t.threshold, t.coverage) for t in found] == [(0.1, 1 / 3)]


def test_an_error_rate_out_of_reach_is_left_out() -> None:
    assert abstention_thresholds(np.array([0.1, 0.2]), np.array([True, False]), math.log(2), (0.05,)) == ()


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5]), st.booleans()), min_size=1), st.floats(0.01, 0.99)
)
def test_a_threshold_keeps_its_promise_and_no_higher_one_does(rows: list[tuple[float, bool]], rate: float) -> None:
    entropies, wrong = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    keeping = [value for value in np.unique(entropies) if wrong[entropies <= value].mean() <= rate]
    found = abstention_thresholds(entropies, wrong, 1.0, (rate,))
    assert len(found) == bool(keeping)
    for threshold in found:
        accepted = entropies <= threshold.threshold
        assert wrong[accepted].mean() <= rate
        np.testing.assert_array_equal(accepted, entropies <= keeping[-1])
        assert threshold.coverage == accepted.mean()
