"""The network predicts the noise of each row: it learns the true one, and published intervals cover as stated."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mapie.conformity_scores import ResidualNormalisedScore  # type: ignore[import-untyped]
from mapie.regression import SplitConformalRegressor  # type: ignore[import-untyped]
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from torch import nn

from service.engine.decisions import half_widths
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.uncertainty import RegressionUncertainty, summarise_regression
from service.loading.load import load_model
from service.model.manifest import LearnedNoise, Manifest, Noise
from training.config import TrainConfig
from training.data import Dataset
from training.errors import TrainingError
from training.evidence.answers import Answers, compute_answers
from training.evidence.calibrate import COVERAGES, conformal_quantiles, describe_noise, fit_scale, noise_of, scores
from training.evidence.metrics import Float64
from training.evidence.metrics.values import gaussian_half_width, gaussian_nll, interval_coverage
from training.evidence.rows import Rows
from training.networks.architecture import make_network
from training.networks.layers import LEAST_NOISE, NoisyInTargetsUnit, mean_and_noise
from training.pipeline import run
from training.publish.release import publish_module

FRESH = 4000


class Drawn(NamedTuple):
    """Rows whose noise is known: near 0.1 on one side, 1.1 on the other."""

    inputs: Float64
    targets: Float64
    noise_std: Float64


def draw(rows: int, seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-3, 3, (rows, 2))
    noise_std = 0.1 + 1 / (1 + np.exp(-2 * inputs[:, 1:]))
    return Drawn(inputs, np.sin(inputs[:, :1]) + noise_std * rng.normal(size=(rows, 1)), noise_std)


class Published(NamedTuple):
    folder: Path
    manifest: Manifest
    engine: Engine


def published(models: Path, noise: str, **settings: object) -> Published:
    file = models / "waves.csv"
    drawn = draw(3000, seed=1)
    table = np.hstack([drawn.inputs, drawn.targets])
    np.savetxt(file, table, delimiter=",", header="a,b,y", comments="", fmt="%.6f")
    asked = {"data": str(file), "target": "y", "noise": noise, "models": models / "models", "device": "cpu"}
    quick = {"hidden": (64, 64), "epochs": 15, "dropout": 0.05, "passes": 20, "learning_rate": 0.01}
    folder, manifest = run(TrainConfig.model_validate(asked | quick | settings), lambda _: None, lambda _: None)
    return Published(folder, manifest, load_model(folder, MaskCache(2**20)))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("learned"), "learned")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("fitted"), "fitted")


@pytest.fixture(scope="module")
def fresh() -> Drawn:
    return draw(FRESH, seed=2)


def spread(model: Published, rows: Drawn) -> RegressionUncertainty:
    found = compute_answers(model.engine, {"input": rows.inputs}, passes=20, seed=0).uncertainty
    assert isinstance(found, RegressionUncertainty)
    return found


# what is learned


def test_what_is_learned_is_the_noise(learned: Published, fresh: Drawn) -> None:
    found = spread(learned, fresh)
    assert learned.manifest.answers == 1
    assert np.corrcoef(found.aleatoric_std[:, 0], fresh.noise_std[:, 0])[0, 1] > 0.95
    loud, quiet = fresh.noise_std[:, 0] > 1, fresh.noise_std[:, 0] < 0.15
    assert found.aleatoric_std[loud].mean() > 4 * found.aleatoric_std[quiet].mean()


def test_it_is_worth_more_than_one_noise_for_all(learned: Published, fitted: Published, fresh: Drawn) -> None:
    one, each = (spread(model, fresh) for model in (fitted, learned))
    gain = gaussian_nll(one.mean, one.total_std, fresh.targets) - gaussian_nll(each.mean, each.total_std, fresh.targets)
    assert gain > 0.4  # nats
    assert isinstance(fitted.manifest.noise, Noise)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_normal_intervals_cover_nearly_as_often_on_either_side(
    learned: Published, fresh: Drawn, coverage: float
) -> None:
    found = spread(learned, fresh)
    half_width = gaussian_half_width(found.total_std, coverage)
    for side in (fresh.inputs[:, 1] > 0, fresh.inputs[:, 1] <= 0):
        covered = interval_coverage(found.mean[side], half_width[side], fresh.targets[side])
        assert covered == pytest.approx(coverage, abs=0.05)


def test_conformal_intervals_cover_as_often_as_they_say(learned: Published, fresh: Drawn) -> None:
    """The law of what split-conformal sets of so many calibration rows cover of so many fresh ones; its 99 %."""
    prediction = learned.engine.predict({"input": fresh.inputs})
    rows = learned.manifest.training["calibration_rows"]
    assert [quantile.coverage for quantile in learned.manifest.conformal] == list(COVERAGES)
    for quantile in learned.manifest.conformal:
        half_width = half_widths(prediction.values, prediction.noise_std, quantile)
        covered = interval_coverage(prediction.values, half_width, fresh.targets) * FRESH
        rank = math.ceil(round((rows + 1) * quantile.coverage, 9))
        low, high = stats.betabinom(FRESH, rank, rows + 1 - rank).interval(0.99)
        assert low <= covered <= high


def test_they_are_narrower_where_there_is_less_noise(learned: Published, fitted: Published, fresh: Drawn) -> None:
    inputs = {"input": fresh.inputs}
    predictions = (model.engine.predict(inputs) for model in (learned, fitted))
    ours, theirs = (
        half_widths(each.values, each.noise_std, model.manifest.conformal[1])
        for each, model in zip(predictions, (learned, fitted), strict=True)
    )
    quiet = fresh.noise_std[:, 0] < 0.15
    assert ours[quiet].mean() < theirs[quiet].mean() / 2
    assert ours.mean() < theirs.mean()


def test_what_is_published_says_so(learned: Published) -> None:
    assert isinstance(learned.manifest.noise, LearnedNoise)
    assert learned.manifest.output.shape == (2,)
    assert learned.manifest.training["noise"] == "learned"
    figures = learned.manifest.evaluation["deterministic"]
    assert {"coverage_0.9", "width_0.9", "rmse"} < set(figures)
    card = (learned.folder / "MODEL_CARD.md").read_text()
    assert f"each row's observation noise, multiplied by {learned.manifest.noise.scale:.4g}." in card
    assert "the answer ± the quantile times the row's noise" in card


# its parts


def test_means_and_noise_return_to_the_targets_unit() -> None:
    targets = torch.tensor([[1e6], [2e6], [4e6]])
    unit = NoisyInTargetsUnit(targets)
    shown = torch.tensor([[0.5, -40.0], [0.0, 3.0]])
    answers = unit(shown)
    torch.testing.assert_close(answers[:, :1], (unit.mean + unit.spread * shown[:, :1]).float())
    torch.testing.assert_close(answers[0, 1], (unit.spread[0] * LEAST_NOISE).float())
    torch.testing.assert_close(answers[1, 1], (unit.spread[0] * (math.log1p(math.exp(3)) + LEAST_NOISE)).float())
    mean, noise = mean_and_noise(torch.arange(12.0).reshape(2, 6))
    assert (mean.tolist(), noise.shape) == ([[0, 1, 2], [6, 7, 8]], (2, 3))


def test_the_scale_is_the_root_mean_square_of_error_over_deviation_where_the_passes_agree() -> None:
    rng = np.random.default_rng(3)
    noise_std = rng.uniform(0.1, 2, size=(1, 500, 1))
    truth = 0.7 * noise_std[0] * rng.normal(size=(500, 1))
    expected = math.sqrt(np.square(truth / noise_std[0]).mean())
    agreeing = np.repeat(noise_std, 4, axis=0)
    assert fit_scale(np.zeros_like(agreeing), agreeing, truth) == pytest.approx(expected, rel=1e-4)


def test_the_scale_leaves_the_passes_their_share() -> None:
    rng = np.random.default_rng(4)
    means, noise_std = rng.normal(size=(50, 4000, 1)), rng.uniform(0.5, 3, size=(50, 4000, 1))
    found = summarise_regression(means, noise_std)
    total = np.hypot(found.epistemic_std, 0.6 * found.aleatoric_std)
    truth = found.mean + total * rng.normal(size=(4000, 1))
    assert fit_scale(means, noise_std, truth) == pytest.approx(0.6, rel=0.05)


def test_a_noise_that_is_known_is_not_fitted() -> None:
    samples, targets = np.ones((2, 3, 1), np.float32), np.zeros((3, 1))
    assert noise_of(Noise(std=0.2), samples, targets) == Noise(std=0.2)
    assert noise_of(None, samples, targets) == Noise(std=1.0)
    assert describe_noise(Noise(std=0.2)) == "noise 0.2"
    assert describe_noise(None) == "no noise"


def test_a_noise_below_0_is_refused() -> None:
    samples = np.array([[[1.0, 0.5], [1.0, -0.5]]], np.float32)
    with pytest.raises(TrainingError, match="second half of the network's outputs must be above 0"):
        noise_of(LearnedNoise(learned=True), samples, np.zeros((2, 1)))


def test_a_network_of_ones_own_that_tells_the_noise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mean = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 4))
    module = nn.Sequential(mean, Positive()).eval()
    inputs = torch.randn(200, 2)
    with torch.no_grad():
        values, noise = module(inputs).chunk(2, dim=1)
    targets = values + 2 * noise * torch.randn(200, 2)
    rows = Rows((inputs,), targets)
    known = LearnedNoise(learned=True)
    folder, manifest = publish_module(
        module, (inputs,), name="own", models=tmp_path, noise=known, validation=rows, calibration=rows, test=rows
    )
    assert (manifest.answers, manifest.output.shape) == (2, (4,))
    assert isinstance(manifest.noise, LearnedNoise)
    assert manifest.noise.scale == pytest.approx(2, rel=0.15)
    assert load_model(folder, MaskCache(2**20)).predict({"input": inputs.numpy()}).values.shape == (200, 2)


def test_a_scale_that_is_stopped_by_its_bounds_is_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2), Positive()).eval()
    inputs = torch.randn(200, 2)
    with torch.no_grad():
        values, noise = module(inputs).chunk(2, dim=1)
    known = LearnedNoise(learned=True)
    for factor in (5, 30):
        said: list[str] = []
        rows = Rows((inputs,), values + factor * noise * torch.randn(200, 1))
        _, manifest = publish_module(
            module, (inputs,), name="own", models=tmp_path, noise=known, validation=rows, log=said.append
        )
        assert isinstance(manifest.noise, LearnedNoise)
        assert manifest.noise.scale == pytest.approx(min(factor, 10), rel=0.15)
        assert sum(line.startswith("fit: learned noise times ") for line in said) == 1
        warned = [line for line in said if line.startswith("warning: ")]
        assert warned == [f"warning: {warning}" for warning in manifest.warnings]
        assert warned == ["warning: the best factor of the learned noise lies beyond 10: deviations are unreliable"] * (
            factor == 30
        )


def test_a_noise_below_0_is_refused_without_any_rows_to_fit_it_to(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.1), nn.Linear(16, 2)).eval()
    with pytest.raises(TrainingError, match="second half of the network's outputs must be above 0"):
        publish_module(module, (torch.randn(20, 2),), name="own", models=tmp_path, noise=LearnedNoise(learned=True))
    assert list(tmp_path.iterdir()) == []


class Positive(nn.Module):
    """The second half of the values above 0."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mean, noise = values.chunk(2, dim=1)
        return torch.cat([mean, nn.functional.softplus(noise)], dim=1)


def test_a_module_is_told_what_it_should_answer() -> None:
    data = Dataset("line", np.zeros((9, 2), np.float32), np.zeros((9, 1), np.float32), ("a", "b"), (), False)
    config = TrainConfig.model_validate({"noise": "learned", "module": "tests.training.test_learned_noise:two_answers"})
    make_network(config, data, torch.from_numpy(data.inputs))  # two columns in, two out
    wrong = config.model_copy(update={"module": "tests.training.test_learned_noise:one_answer"})
    message = r"a value and then the input of the softplus that gives its noise; for 3 rows it answers \(3, 1\)"
    with pytest.raises(TrainingError, match=message):
        make_network(wrong, data, torch.from_numpy(data.inputs))


def two_answers() -> nn.Module:
    return nn.Dropout()


def one_answer() -> nn.Module:
    return nn.Linear(2, 1)


class Deviation(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Tells MAPIE the noise of diabetes' rows: some function of them."""

    def fit(self, inputs: Float64, targets: Float64) -> "Deviation":
        self.fitted_ = True
        return self

    def predict(self, inputs: Float64) -> Float64:
        return np.asarray(20 + 200 * np.abs(inputs[:, 2]))


def test_normalised_intervals_are_those_of_mapie() -> None:
    inputs, targets = load_diabetes(return_X_y=True)
    model, deviation = Ridge(0.1).fit(inputs[:200], targets[:200]), Deviation().fit(inputs, targets)
    chosen = slice(200, 401)

    def answers(rows: Float64) -> tuple[Float64, Float64]:
        return model.predict(rows)[:, None], deviation.predict(rows)[:, None]

    values, noise_std = answers(inputs[chosen])
    ours = conformal_quantiles(
        scores(Answers(values, summarise_regression(values[None]), noise_std), targets[chosen, None])
    )
    normalised = ResidualNormalisedScore(residual_estimator=deviation, prefit=True, sym=True)
    theirs = SplitConformalRegressor(model, confidence_level=COVERAGES, conformity_score=normalised, prefit=True)
    theirs.conformalize(inputs[chosen], targets[chosen])
    _, intervals = theirs.predict_interval(inputs[401:])  # (rows, low and high, coverages)
    fresh, fresh_std = answers(inputs[401:])
    for number, quantile in enumerate(ours):
        half_width = half_widths(fresh, fresh_std, quantile)
        both = np.concatenate([fresh - half_width, fresh + half_width], axis=1)
        np.testing.assert_allclose(intervals[..., number], both, rtol=0, atol=1e-6)
