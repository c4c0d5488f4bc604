import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from service.engine.uncertainty import softmax
from training.evidence.metrics.classes import nll
from training.evidence.temperature import BOUNDS, PRIOR, at_bound, fit_temperature, loss

Logits = NDArray[np.float32]


def drawn_at(temperature: float, rows: int, passes: int = 1) -> tuple[Logits, NDArray[np.int64]]:
    """Logits of passes that scatter, and classes drawn from the mean of their softmax at this temperature."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 3, size=(rows, 5))
    logits = (common + rng.normal(0, 2.0 * (passes > 1), size=(passes, rows, 5))).astype(np.float32)
    cumulated = softmax(logits, temperature).mean(axis=0).cumsum(axis=1)
    return logits, (rng.uniform(size=(rows, 1)) > cumulated).sum(axis=1)


@pytest.mark.parametrize("passes", [1, 20])
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_is_found(truth: float, passes: int) -> None:
    logits, targets = drawn_at(truth, 4000, passes)
    found = fit_temperature(logits, targets)
    best = optimize.minimize_scalar(
        lambda log_t: loss(logits, targets, math.exp(log_t)), bounds=(-3, 3), method="bounded", options={"xatol": 1e-8}
    )
    assert found == pytest.approx(math.exp(best.x), rel=2e-4)
    assert found == pytest.approx(truth, rel=0.1)


def test_the_loss_is_that_of_the_mean_probabilities_and_a_normal_prior() -> None:
    logits, targets = drawn_at(1.0, 30, passes=4)
    mean = softmax(logits, 2.0).mean(axis=0)
    assert loss(logits, targets, 2.0) == pytest.approx(nll(mean, targets) + math.log(2) ** 2 / (2 * PRIOR**2) / 30)


def test_thinned_networks_whose_mean_is_less_sure_get_a_lower_temperature() -> None:
    logits, targets = drawn_at(1.0, 4000, passes=20)
    mean_logits = logits.mean(axis=0, keepdims=True)
    assert fit_temperature(logits, targets) < 0.8 * fit_temperature(mean_logits, targets)


def test_a_few_rows_that_are_all_right_are_no_reason_to_be_sure_of_everything() -> None:
    logits, targets = np.eye(3, dtype=np.float32)[None] * 4, np.arange(3)
    assert 0.5 < fit_temperature(logits, targets) < 1


def test_logits_far_from_log_probabilities_are_told() -> None:
    logits, targets = drawn_at(1.0, 2000)
    assert at_bound(fit_temperature(logits * 10000, targets), BOUNDS)
    assert not at_bound(fit_temperature(logits, targets), BOUNDS)
