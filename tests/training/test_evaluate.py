import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from service.uncertainty import Float64, summarise_regression
from training.evaluate import Answers, Int64, accuracy, brier, ece, evaluate, figures, nll

CLASSES = 4


@pytest.fixture
def answers() -> tuple[Float64, Int64]:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.5), size=500)
    targets = np.array([rng.choice(CLASSES, p=row) for row in probabilities])
    return probabilities, targets


def test_figures_agree_with_scikit_learn(answers: tuple[Float64, Int64]) -> None:
    probabilities, targets = answers
    labels = np.arange(CLASSES)
    assert accuracy(probabilities, targets) == metrics.accuracy_score(targets, probabilities.argmax(axis=1))
    assert nll(probabilities, targets) == pytest.approx(metrics.log_loss(targets, probabilities, labels=labels))
    assert brier(probabilities, targets) == pytest.approx(
        metrics.brier_score_loss(targets, probabilities, labels=labels, scale_by_half=False)
    )


def test_ece_is_the_gap_summed_bin_by_bin(answers: tuple[Float64, Int64]) -> None:
    probabilities, targets = answers
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(probabilities, targets) == pytest.approx(expected)


def test_knowing_everything() -> None:
    assert figures(np.eye(3), np.arange(3)) == {"accuracy": 1.0, "nll": 0.0, "brier": 0.0, "ece": 0.0}


def test_being_sure_and_wrong() -> None:
    worst = figures(np.eye(2), np.array([1, 0]))
    assert (worst["accuracy"], worst["brier"], worst["ece"]) == (0.0, 2.0, 1.0)
    assert 700 < worst["nll"] < np.inf


def test_knowing_nothing() -> None:
    found = figures(np.full((8, 4), 0.25), np.arange(8) % 4)
    assert found == pytest.approx({"accuracy": 0.25, "nll": np.log(4), "brier": 0.75, "ece": 0.0})


def test_figures_of_a_regression() -> None:
    samples = np.array([[[0.0], [2.0]], [[2.0], [2.0]]])  # (passes, rows, outputs); means 1 and 2, deviations 1 and 0
    answers = Answers(np.array([[1.0], [2.0]]), summarise_regression(samples, noise_std=1.0))
    found = evaluate(answers, np.array([[4.0], [3.0]]))
    assert found["deterministic"] == pytest.approx({"rmse": np.sqrt(5), "mae": 2.0})
    exact = -stats.norm([1, 2], [np.sqrt(2), 1]).logpdf([4, 3]).mean()
    assert found["mc"] == pytest.approx({"rmse": np.sqrt(5), "mae": 2.0, "nll": exact})
    certain = Answers(answers.deterministic, summarise_regression(samples))
    assert "nll" not in evaluate(certain, np.array([[4.0], [3.0]]))["mc"]
