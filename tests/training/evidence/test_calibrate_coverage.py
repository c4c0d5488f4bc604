"""Quantiles and thresholds keep their guarantees on new rows, of which simulation gives any number."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from service.engine.decisions import prediction_sets
from service.engine.masks import MaskCache
from service.loading.load import load_model
from service.model.manifest import ConformalQuantile
from training.evidence.calibrate import CONFIDENCE, COVERAGES, abstention_thresholds, conformal_quantiles
from training.evidence.metrics import Float64
from training.evidence.reliability import interval_figures, set_figures
from training.evidence.rows import Rows
from training.publish.release import publish_module

FRESH = 2000
CALIBRATION = 20_000
"""Ten times as many, so that the quantile's own spread hardly widens the binomial's."""
Draw = Callable[[int], tuple[Tensor, Tensor]]


def network(outputs: int) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, outputs))


def draw_classes(rows: int) -> tuple[Tensor, Tensor]:
    """Three clouds that overlap."""
    classes = torch.randint(3, (rows,))
    angle = classes * 2.1
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.7 * torch.randn(rows, 2), classes


def draw_values(rows: int) -> tuple[Tensor, Tensor]:
    """A curve with more noise on one side."""
    inputs = torch.randn(rows, 2)
    noise = (0.2 + 0.3 * inputs[:, 1:].sigmoid()) * torch.randn(rows, 1)
    return inputs, torch.sin(2 * inputs[:, :1]) + noise


def train(module: nn.Module, draw: Draw, loss: nn.Module) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(150):
        inputs, targets = draw(200)
        optimizer.zero_grad()
        loss(module(inputs), targets).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("outputs", "draw", "loss", "labels"),
    [(3, draw_classes, nn.CrossEntropyLoss(), "abc"), (1, draw_values, nn.MSELoss(), "")],
)
def test_a_published_model_covers_fresh_rows_as_often_as_it_says(
    outputs: int, draw: Draw, loss: nn.Module, labels: str, tmp_path: Path
) -> None:
    """Within the binomial's 99 %, for a model that was trained, exported, fitted, calibrated and loaded."""
    module = network(outputs)
    train(module, draw, loss)
    parts = {name: draw(rows) for name, rows in (("validation", 500), ("calibration", CALIBRATION), ("fresh", FRESH))}
    validation, calibration = (Rows((parts[name][0],), parts[name][1]) for name in ("validation", "calibration"))
    folder, manifest = publish_module(
        module,
        (parts["fresh"][0][:9],),
        name="fresh",
        models=tmp_path,
        labels=labels,
        validation=validation,
        calibration=calibration,
        passes=5,
    )
    inputs, targets = (part.numpy() for part in parts["fresh"])
    answers = load_model(folder, MaskCache(2**20)).predict({"input": inputs}).values
    assert [quantile.coverage for quantile in manifest.conformal] == list(COVERAGES)
    measure = set_figures if labels else interval_figures
    for quantile in manifest.conformal:
        found = measure(answers, targets, quantile)[f"coverage_{quantile.coverage:g}"]
        low, high = stats.binom(FRESH, quantile.coverage).interval(0.99)
        assert low <= found * FRESH <= high


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_by_wrong_probabilities_cover_as_often_all_the_same(coverage: float) -> None:
    """Over many calibrations: ⌈(n+1)c⌉/(n+1), whatever the probabilities are worth."""
    rng = np.random.default_rng(8)
    trials, n, fresh = 300, 199, 100
    covered = 0
    for _ in range(trials):
        targets = rng.integers(4, size=n + fresh)
        evidence = rng.normal(size=(n + fresh, 4)) + 2 * np.eye(4)[targets]
        probabilities = np.exp(3 * evidence)  # too sure by far
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        truth = probabilities[np.arange(n + fresh), targets]
        (quantile,) = conformal_quantiles(1 - truth[:n], (coverage,))
        covered += int(prediction_sets(probabilities[n:], quantile)[np.arange(fresh), targets[n:]].sum())
    rank = coverage * (n + 1)
    law = stats.betabinom(fresh, rank, n + 1 - rank)  # of each trial
    spread = law.std() / (fresh * np.sqrt(trials))
    assert abs(covered / (trials * fresh) - coverage) < 3 * spread
    assert isinstance(quantile, ConformalQuantile)


Truth = Callable[[Float64], Float64]
ENTROPIES: dict[str, Truth] = {
    "that tell nothing": lambda entropy: np.full_like(entropy, 0.0505),
    "that tell a little": lambda entropy: 0.04 + 0.03 * entropy,
    "that tell much": lambda entropy: 0.5 / (1 + np.exp(-15 * (entropy - 0.8))),
    "with a step": lambda entropy: np.where(entropy < 0.7, 0.02, 0.5),
}
"""The error rate at an entropy, 0 to 1 and uniform."""


@pytest.mark.parametrize("rows", [300, 2000])
@pytest.mark.parametrize("name", ENTROPIES)
def test_thresholds_keep_their_error_rate_with_the_stated_confidence(name: str, rows: int) -> None:
    """Over many data sets, in which the true error rate of what a threshold accepts is known."""
    rng, trials, aim = np.random.default_rng(9), 300, 0.05
    grid = np.linspace(0, 1, 10_001)
    error_rate = ENTROPIES[name](grid)
    of_accepted = np.cumsum(error_rate) / np.arange(1, len(grid) + 1)  # below each entropy of the grid
    broken = 0
    for _ in range(trials):
        entropies = rng.uniform(size=rows)
        wrong = rng.uniform(size=rows) < ENTROPIES[name](entropies)
        for threshold in abstention_thresholds(entropies, wrong, 1.0, (aim,)):
            broken += bool(np.interp(threshold.threshold, grid, of_accepted) > aim)
    assert broken <= stats.binom(trials, 1 - CONFIDENCE).ppf(0.995)


def test_thresholds_are_found_where_entropy_tells_right_from_wrong() -> None:
    """Otherwise a guarantee that is never given would hold, too."""
    rng = np.random.default_rng(10)
    entropies = rng.uniform(size=2000)
    wrong = rng.uniform(size=2000) < ENTROPIES["that tell much"](entropies)
    found = abstention_thresholds(entropies, wrong, 1.0, (0.05, 0.02, 0.01))
    assert [threshold.error_rate for threshold in found] == [0.05, 0.02, 0.01]
    assert [threshold.coverage for threshold in found] == pytest.approx([0.84, 0.73, 0.66], abs=0.06)
