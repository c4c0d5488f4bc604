"""Figures of a regression agree with scikit-learn, scipy, torchmetrics and MAPIE, where these have them."""

import math

import numpy as np
import pytest
import torch
from mapie.metrics.regression import (  # type: ignore[import-untyped]
    regression_coverage_score,
    regression_mean_width_score,
)
from scipy import integrate, stats
from sklearn import metrics
from torchmetrics.functional.regression import continuous_ranked_probability_score

from service.engine.uncertainty import RegressionUncertainty
from training.evidence.evaluate import selective_errors
from training.evidence.metrics import Float64
from training.evidence.metrics.values import (
    crps,
    error_correlation,
    gaussian_half_width,
    gaussian_nll,
    interval_coverage,
    mae,
    rmse,
)


def draw(rows: int = 300, outputs: int = 1) -> tuple[Float64, Float64, Float64]:
    """Mean, deviation and truth."""
    rng = np.random.default_rng(31)
    mean, std = rng.normal(size=(rows, outputs)), rng.uniform(0.2, 2, size=(rows, outputs))
    return mean, std, rng.normal(mean, std)


def test_errors_are_those_of_scikit_learn() -> None:
    mean, _, truth = draw()
    assert rmse(mean, truth) == pytest.approx(metrics.root_mean_squared_error(truth, mean))
    assert mae(mean, truth) == pytest.approx(metrics.mean_absolute_error(truth, mean))


def test_nll_is_that_of_torch() -> None:
    mean, std, truth = map(torch.from_numpy, draw())
    theirs = torch.nn.functional.gaussian_nll_loss(mean, truth, std**2, full=True)
    assert gaussian_nll(mean.numpy(), std.numpy(), truth.numpy()) == pytest.approx(float(theirs))
    assert math.isnan(gaussian_nll(mean.numpy(), np.zeros_like(mean.numpy()), truth.numpy()))


@pytest.mark.parametrize(("mean", "std", "truth"), [(0.0, 1.0, 0.0), (1.5, 0.3, 2.0), (-2.0, 4.0, 5.0)])
def test_crps_is_the_integral_that_defines_it(mean: float, std: float, truth: float) -> None:
    """∫ (F(x) - 1[x ≥ y])² dx."""
    below, _ = integrate.quad(lambda x: stats.norm.cdf(x, mean, std) ** 2, -60, truth)
    above, _ = integrate.quad(lambda x: stats.norm.sf(x, mean, std) ** 2, truth, 60)
    assert crps(*(np.array([[value]]) for value in (mean, std, truth))) == pytest.approx(below + above, abs=1e-7)


def test_crps_is_that_of_torchmetrics_for_many_draws() -> None:
    mean, std, truth = draw()
    ensemble = mean + std * stats.norm.ppf((np.arange(200) + 0.5) / 200)  # (rows, members)
    theirs = continuous_ranked_probability_score(torch.from_numpy(ensemble), torch.from_numpy(truth[:, 0]))
    assert crps(mean, std, truth) == pytest.approx(float(theirs), rel=0.01)


def test_crps_of_a_sure_answer_is_its_absolute_error() -> None:
    mean, _, truth = draw()
    assert crps(mean, np.zeros_like(mean), truth) == pytest.approx(mae(mean, truth))


def test_intervals_are_measured_as_by_mapie() -> None:
    mean, std, truth = draw()
    half = gaussian_half_width(std, 0.8)
    both = np.concatenate([mean - half, mean + half], axis=1)[..., None]
    assert interval_coverage(mean, half, truth) == pytest.approx(regression_coverage_score(truth[:, 0], both)[0])
    assert 2 * half.mean() == pytest.approx(regression_mean_width_score(both)[0])


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("coverage", [0.8, 0.99])
def test_intervals_of_true_distributions_cover_all_outputs_as_often_as_they_say(outputs: int, coverage: float) -> None:
    rows = 20_000
    mean, std, truth = draw(rows, outputs)
    found = interval_coverage(mean, gaussian_half_width(std, coverage), truth)
    low, high = stats.binom(rows, coverage).interval(0.999)
    assert low <= found * rows <= high


def test_correlation_is_pearsons() -> None:
    mean, std, truth = draw(outputs=2)
    error = np.abs(mean - truth)
    assert error_correlation(mean, std, truth) == pytest.approx(stats.pearsonr(error.ravel(), std.ravel())[0])
    assert error_correlation(mean, std, truth) > 0.3
    assert math.isnan(error_correlation(mean, np.ones_like(std), truth))


def test_answering_only_the_surest_rows_is_the_mean_over_all_shares_of_them() -> None:
    mean, std, truth = draw(rows=50, outputs=2)
    uncertainty = RegressionUncertainty(mean, std, np.zeros_like(std), std, std)
    found = selective_errors(uncertainty, truth)
    losses = np.abs(mean - truth).mean(axis=1)
    order = np.argsort((std**2).sum(axis=1))
    assert found["aurc_mae"] == pytest.approx(np.mean([losses[order[:rows]].mean() for rows in range(1, 51)]))
    best = np.mean([np.sort(losses)[:rows].mean() for rows in range(1, 51)])
    assert found["excess_aurc_mae"] == pytest.approx(found["aurc_mae"] - best)
    assert 0 < found["aurc_mae"] < losses.mean()
