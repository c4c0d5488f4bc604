"""Figures of probabilities agree with torchmetrics and MAPIE, where these have them."""

import numpy as np
import pytest
import torch
from mapie.metrics import classification as of_mapie  # type: ignore[import-untyped]
from torchmetrics.functional import classification as of_torchmetrics

from training.evidence.metrics import Float64, Int64
from training.evidence.metrics.classes import accuracy, ece, reliability, set_coverage, set_size

CLASSES = 5


def draw(rows: int = 1000) -> tuple[Float64, Int64]:
    rng = np.random.default_rng(11)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.4), size=rows)
    return probabilities, rng.integers(CLASSES, size=rows)


@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_error_is_that_of_torchmetrics(bins: int) -> None:
    probabilities, targets = draw()
    given = torch.from_numpy(probabilities), torch.from_numpy(targets)
    theirs = of_torchmetrics.multiclass_calibration_error(*given, CLASSES, n_bins=bins, norm="l1")
    assert ece(probabilities, targets, bins) == pytest.approx(float(theirs), abs=1e-6)


def test_accuracy_is_that_of_torchmetrics() -> None:
    probabilities, targets = draw()
    given = torch.from_numpy(probabilities), torch.from_numpy(targets)
    theirs = of_torchmetrics.multiclass_accuracy(*given, CLASSES, average="micro")
    assert accuracy(probabilities, targets) == pytest.approx(float(theirs))


def test_sets_are_measured_as_by_mapie() -> None:
    probabilities, targets = draw()
    members = probabilities > 0.2
    assert set_coverage(members, targets) == pytest.approx(
        of_mapie.classification_coverage_score(targets, members[..., None])[0]
    )
    assert set_size(members) == pytest.approx(of_mapie.classification_mean_width_score(members[..., None])[0])


def test_the_diagram_of_a_case_done_by_hand() -> None:
    probabilities = np.array([[0.6, 0.4], [0.58, 0.42], [0.95, 0.05], [1.0, 0.0]])
    found = reliability(probabilities, np.array([0, 1, 0, 0]), bins=5)
    assert found.confidence == pytest.approx([0.59, 0.975])
    assert found.accuracy == pytest.approx([0.5, 1.0])
    assert found.share == pytest.approx([0.5, 0.5])
    assert ece(probabilities, np.array([0, 1, 0, 0]), bins=5) == pytest.approx((0.09 + 0.025) / 2)


def test_the_diagram_of_honest_probabilities_is_the_diagonal() -> None:
    rng = np.random.default_rng(12)
    high = rng.uniform(0.5, 1, size=200_000)
    probabilities = np.stack([high, 1 - high], axis=1)
    found = reliability(probabilities, (rng.uniform(size=len(high)) > high).astype(np.int64))
    np.testing.assert_allclose(found.accuracy, found.confidence, atol=0.02)
    assert found.share.sum() == pytest.approx(1)
