"""Risk-coverage curves and AUROC: agreement with scikit-learn, torchmetrics and MAPIE, and cases done by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mapie.metrics.uncertainty import auarc  # type: ignore[import-untyped]
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from training.evidence.metrics import Bool, Float64
from training.evidence.metrics.detection import auroc, auroc_of_ood
from training.evidence.metrics.selective import aurc, excess_aurc, risk_coverage


def draw(ties: bool) -> tuple[Bool, Float64]:
    rng = np.random.default_rng(21)
    uncertainties = rng.uniform(size=500)
    wrong = rng.uniform(size=500) < uncertainties * 0.5
    return wrong, uncertainties.round(1) if ties else uncertainties


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_that_of_scikit_learn_and_torchmetrics(ties: bool) -> None:
    wrong, uncertainties = draw(ties)
    assert auroc(wrong, uncertainties) == pytest.approx(roc_auc_score(wrong, uncertainties))
    theirs = binary_auroc(torch.from_numpy(uncertainties), torch.from_numpy(wrong.astype(np.int64)))
    assert auroc(wrong, uncertainties) == pytest.approx(float(theirs), abs=1e-6)


def test_auroc_of_ood_rows() -> None:
    assert auroc_of_ood(np.array([0.1, 0.2]), np.array([0.3])) == 1.0
    assert auroc_of_ood(np.array([0.1, 0.2]), np.array([0.15, 0.2, 0.05])) == pytest.approx((1 + 1.5 + 0) / 6)
    assert math.isnan(auroc(np.ones(3, dtype=bool), np.arange(3.0)))


def test_the_curve_of_a_case_done_by_hand() -> None:
    found = risk_coverage(np.array([True, False, False, True]), np.array([0.9, 0.1, 0.3, 0.2]))
    assert found.coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found.risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])


def test_area_is_one_minus_mapies_accuracy_under_rejection() -> None:
    wrong, uncertainties = draw(ties=False)
    assert aurc(wrong, uncertainties) == pytest.approx(1 - auarc(~wrong, -uncertainties))


def test_equal_uncertainties_count_as_in_random_order() -> None:
    wrong, uncertainties = draw(ties=True)
    rng = np.random.default_rng(22)
    shuffled = [rng.permutation(len(wrong)) for _ in range(400)]
    areas = [1 - auarc(~wrong[order], -uncertainties[order]) for order in shuffled]  # a stable sort keeps their order
    spread = np.std(areas) / math.sqrt(len(areas))
    assert aurc(wrong, uncertainties) == pytest.approx(np.mean(areas), abs=4 * spread)
    assert aurc(wrong, np.zeros(len(wrong))) == pytest.approx(wrong.mean())


def test_losses_need_not_be_zero_or_one() -> None:
    assert risk_coverage(np.array([4.0, 1.0]), np.array([2.0, 1.0])).risk == pytest.approx([1.0, 2.5])


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30))
def test_no_order_is_better_than_the_best_and_none_is_worse_than_its_opposite(rows: list[tuple[bool, float]]) -> None:
    wrong, uncertainties = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assert excess_aurc(wrong, uncertainties) >= -1e-12
    assert excess_aurc(wrong, wrong.astype(np.float64)) == 0
    assert aurc(wrong, uncertainties) <= aurc(wrong, -wrong.astype(np.float64)) + 1e-12
