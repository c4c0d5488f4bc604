import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from service.engine.uncertainty import ClassUncertainty, Float64, softmax, summarise_classes, summarise_regression
from service.model.manifest import Manifest
from training.evidence.answers import Answers
from training.evidence.calibrate import abstention_thresholds, calibrate
from training.evidence.evaluate import evaluate, figures, join
from training.evidence.metrics import Bool, Int64
from training.evidence.metrics.classes import accuracy, brier, ece, nll

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
    perfect = {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "nll": 0.0,
        "brier": 0.0,
        "ece": 0.0,
        "aurc": 0.0,
        "excess_aurc": 0.0,
    }
    assert figures(np.eye(3), np.arange(3)) == perfect


def test_being_sure_and_wrong() -> None:
    worst = figures(np.eye(2), np.array([1, 0]))
    assert (worst["accuracy"], worst["brier"], worst["ece"], worst["aurc"]) == (0.0, 2.0, 1.0, 1.0)
    assert 700 < worst["nll"] < np.inf


def test_knowing_nothing() -> None:
    found = figures(np.full((8, 4), 0.25), np.arange(8) % 4)
    best = (1 / 3 + 2 / 4 + 3 / 5 + 4 / 6 + 5 / 7 + 6 / 8) / 8  # the two right ones, then the six others
    assert found == pytest.approx(
        {"accuracy": 0.25, "balanced_accuracy": 0.25, "nll": np.log(4), "brier": 0.75, "ece": 0.0, "aurc": 0.75}
        | {"excess_aurc": 0.75 - best}
    )


def test_figures_of_a_regression() -> None:
    samples = np.array([[[0.0], [2.0]], [[2.0], [2.0]]])  # (passes, rows, outputs); means 1 and 2, deviations 1 and 0
    answers = Answers(np.array([[1.0], [2.0]]), summarise_regression(samples, noise_std=1.0))
    found = evaluate(answers, np.array([[4.0], [3.0]]))
    assert found["deterministic"] == pytest.approx({"rmse": np.sqrt(5), "mae": 2.0})
    normal = stats.norm([1, 2], [np.sqrt(2), 1])
    assert found["mc"]["nll"] == pytest.approx(-normal.logpdf([4, 3]).mean())
    assert (found["mc"]["rmse"], found["mc"]["mae"]) == pytest.approx((np.sqrt(5), 2.0))
    assert found["mc"]["width_0.9"] == pytest.approx(2 * 1.6448536 * (np.sqrt(2) + 1) / 2)
    assert (found["mc"]["coverage_0.8"], found["mc"]["coverage_0.95"]) == (0.5, 0.5)
    assert found["mc"]["coverage_0.99"] == 1.0
    certain = evaluate(Answers(answers.deterministic, summarise_regression(samples)), np.array([[4.0], [3.0]]))
    assert "nll" not in certain["mc"]  # a deviation of 0 gives the truth no density
    assert certain["mc"]["crps"] < 2.0


def classified() -> tuple[Answers, Int64]:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(400, CLASSES)) * 2
    passes = softmax(logits + rng.normal(size=(30, 400, CLASSES)))
    targets = np.array([rng.choice(CLASSES, p=row) for row in softmax(logits)])
    return Answers(softmax(logits), summarise_classes(passes)), targets


def test_wrong_answers_are_detected_by_each_doubt() -> None:
    answers, targets = classified()
    found = evaluate(answers, targets)
    wrong = answers.uncertainty.mean.argmax(axis=1) != targets
    assert isinstance(answers.uncertainty, ClassUncertainty)
    for name, doubt in (
        ("entropy", answers.uncertainty.predictive_entropy),
        ("mutual_information", answers.uncertainty.mutual_information),
        ("confidence", -answers.uncertainty.mean.max(axis=1)),
    ):
        assert found["mc"][f"auroc_wrong_{name}"] == pytest.approx(metrics.roc_auc_score(wrong, doubt))
    confidence = answers.deterministic.max(axis=1)
    expected = metrics.roc_auc_score(answers.deterministic.argmax(axis=1) != targets, -confidence)
    assert found["deterministic"]["auroc_wrong_confidence"] == pytest.approx(expected)
    assert "auroc_wrong_mutual_information" not in found["deterministic"]


def test_what_the_rows_cannot_tell_is_left_out() -> None:
    certain = np.eye(3)
    found = evaluate(Answers(certain, summarise_classes(certain[None])), np.arange(3))
    assert not any(name.startswith("auroc") for by in found.values() for name in by)
    assert found["mc"]["accuracy"] == 1.0


def test_sets_and_thresholds_of_the_manifest_are_evaluated(manifest: Manifest) -> None:
    answers, targets = classified()
    calibrated = calibrate(manifest.model_copy(update={"labels": tuple("abcd")}), answers, targets)
    found = evaluate(answers, targets, calibrated)
    for quantile in calibrated.conformal:  # tried on the very rows it was taken from, it holds exactly
        assert found["deterministic"][f"coverage_{quantile.coverage:g}"] == pytest.approx(quantile.coverage, abs=0.005)
        assert 1 <= found["deterministic"][f"set_size_{quantile.coverage:g}"] <= CLASSES
    loose = calibrated.model_copy(
        update={"abstention": abstention_thresholds(entropies(answers), wrong(answers, targets), 2.0, (0.4, 0.35))}
    )
    tried = evaluate(answers, targets, loose)["mc"]
    assert len(loose.abstention) == 2
    for threshold in loose.abstention:
        assert tried[f"accepted_{threshold.error_rate:g}"] == pytest.approx(threshold.coverage)
        assert 0 < tried[f"error_rate_{threshold.error_rate:g}"] <= threshold.error_rate


def test_joining_keeps_all_that_is_finite() -> None:
    parts = ({"mc": {"a": 1.0, "b": np.nan}}, {"mc": {"c": 2.0}, "deterministic": {"a": np.inf}})
    assert join(*parts) == {"mc": {"a": 1.0, "c": 2.0}, "deterministic": {}}


def entropies(answers: Answers) -> Float64:
    assert isinstance(answers.uncertainty, ClassUncertainty)
    return answers.uncertainty.predictive_entropy


def wrong(answers: Answers, targets: Int64) -> Bool:
    return np.asarray(answers.uncertainty.mean.argmax(axis=1) != targets)
