"""Whether a model is better than a constant answer, by numbers that can be computed by hand or by another library."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from service.engine.uncertainty import Float64, summarise_classes, summarise_regression
from service.model.manifest import Manifest
from training.evidence.answers import Answers
from training.evidence.evaluate import evaluate
from training.evidence.metrics import Int64
from training.evidence.metrics.classes import balanced_accuracy, ece, nll, recall
from training.evidence.skill import agreement_beyond_chance, class_figures, skill_warnings
from training.evidence.temperature import fit_temperature

RNG = np.random.default_rng(5)


def answering(classes: Int64, of: int = 3) -> Answers:
    """Sure of these classes."""
    probabilities = np.full((len(classes), of), 0.1)
    probabilities[np.arange(len(classes)), classes] = 1 - 0.1 * (of - 1)
    return Answers(probabilities, summarise_classes(probabilities[None]))


def warned(answered: Int64, targets: Int64, manifest: Manifest) -> list[str]:
    return list(skill_warnings(answering(answered, len(manifest.labels)), targets, manifest))


@pytest.fixture
def two(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"labels": ("no", "yes")})


def test_recall_is_that_of_scikit_learn() -> None:
    targets, answered = RNG.integers(0, 3, 200), RNG.integers(0, 3, 200)
    probabilities = answering(answered).deterministic
    np.testing.assert_allclose(recall(probabilities, targets), recall_score(targets, answered, average=None))
    assert balanced_accuracy(probabilities, targets) == pytest.approx(balanced_accuracy_score(targets, answered))
    assert np.isnan(recall(probabilities, np.zeros(200, np.int64))).tolist() == [False, True, True]


def test_agreement_is_measured_against_the_answers_in_other_orders() -> None:
    targets, answered = RNG.integers(0, 3, 60), RNG.integers(0, 2, 60)
    shuffled = np.array([(RNG.permutation(answered) == targets).sum() for _ in range(20_000)])
    expected = ((answered == targets).sum() - shuffled.mean()) / shuffled.std()
    assert agreement_beyond_chance(answered, targets) == pytest.approx(expected, abs=0.05)
    assert agreement_beyond_chance(np.zeros(60, np.int64), targets) == 0


def test_always_the_commonest_class_is_a_warning(two: Manifest) -> None:
    targets = np.repeat([0, 1], [396, 4])
    chance, missed = warned(np.zeros(400, np.int64), targets, two)
    assert chance.startswith("0.9900 of the 400 test rows are given the right class, which is not shown to be better")
    assert chance.endswith("always answering 'no' is right for 0.9900")
    assert missed == "recall 0, so never recognised: 'yes' (4 test rows)"


def test_a_class_that_mc_dropout_alone_misses_is_a_warning(two: Manifest) -> None:
    targets = np.repeat([0, 1], [396, 4])
    by_mean = answering(np.zeros(400, np.int64), 2).uncertainty
    answers = replace(answering(targets, 2), uncertainty=by_mean)
    assert list(skill_warnings(answers, targets, two)) == [
        "recall 0 with MC dropout, so not recognised by it: 'yes' (4 test rows)"
    ]


def test_a_class_without_test_rows_is_a_warning(manifest: Manifest) -> None:
    targets = np.repeat([0, 1], [30, 30])
    three = manifest.model_copy(update={"labels": ("cat", "dog", "unicorn")})
    assert warned(targets, targets, three) == [
        "no test row has the class, so it is not evaluated: 'unicorn' (0 test rows)"
    ]


def test_a_rare_class_that_is_recognised_is_none(two: Manifest) -> None:
    targets = np.repeat([0, 1], [396, 4])
    assert warned(np.repeat([0, 1], [397, 3]), targets, two) == []


def test_better_than_chance_and_still_no_better_than_a_constant(two: Manifest) -> None:
    targets, answered = np.repeat([0, 1], [390, 10]), np.zeros(400, np.int64)
    answered[380:395] = 1
    (only,) = warned(answered, targets, two)
    assert only.startswith(
        "0.9625 of the 400 test rows are given the right class, no more than by always answering 'no'"
    )
    weighted = two.model_copy(update={"class_weights": (0.5, 20.0)})
    assert warned(answered, targets, weighted) == []  # it was asked to give common rows away for rare ones


def test_guessing_and_labels_in_another_order_are_warnings(two: Manifest) -> None:
    targets = np.tile([0, 1], 200)
    guessed = np.where(np.arange(400) % 40 < 18, targets, 1 - targets)  # right for 180 of 400
    assert "not shown to be better than chance" in warned(guessed, targets, two)[0]
    assert "not shown to be better than chance" in warned(1 - targets, targets, two)[0]
    assert warned(targets, targets, two) == []


@pytest.mark.parametrize("rows", [2, 400])
def test_a_few_rows_do_not_fail(rows: int, two: Manifest) -> None:
    targets = np.zeros(rows, np.int64)
    assert "not shown to be better than chance" in warned(targets, targets, two)[0]


def test_a_regression_no_better_than_the_mean_is_a_warning_by_output(manifest: Manifest) -> None:
    regression = manifest.model_copy(update={"task": "regression", "labels": ()})
    targets = RNG.normal(size=(200, 2))
    values = np.stack([targets[:, 0] + 0.1, RNG.normal(size=200) * 0.1], axis=1)
    (only,) = skill_warnings(Answers(values, summarise_regression(values[None])), targets, regression)
    assert only.startswith("output 2: the root mean square error of the 200 test rows, ")
    assert f"always answering their mean, {targets[:, 1].std():.4g}" in only
    one = skill_warnings(Answers(values[:, 1:], summarise_regression(values[None, :, 1:])), targets[:, 1:], regression)
    assert next(one).startswith("the root mean square error of the 200 test rows, ")


def test_the_baseline_is_the_constant_answer() -> None:
    targets = np.repeat([0, 1], [396, 4])
    found = evaluate(answering(targets, 2), targets)["baseline"]
    entropy = -(0.99 * np.log(0.99) + 0.01 * np.log(0.01))
    assert (found["accuracy"], found["balanced_accuracy"], found["ece"]) == (0.99, 0.5, 0)
    assert (found["nll"], found["brier"]) == pytest.approx((entropy, 0.0198))
    values = RNG.normal(size=(100, 1))
    of_values = evaluate(Answers(values, summarise_regression(values[None])), values)["baseline"]
    assert of_values["rmse"] == pytest.approx(values.std())
    assert of_values["nll"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e) + np.log(values.std()))


def test_figures_of_each_class(two: Manifest) -> None:
    found = class_figures(answering(np.array([0, 0, 1, 0]), 2), np.array([0, 0, 1, 1]), two.labels)
    assert [(of.rows, of.recall) for of in found] == [
        (2, {"deterministic": 1.0, "mc": 1.0}),
        (2, {"deterministic": 0.5, "mc": 0.5}),
    ]
    empty = class_figures(answering(np.zeros(2, np.int64), 2), np.zeros(2, np.int64), two.labels)[1]
    assert (empty.rows, empty.recall) == (0, {})
    assert class_figures(answering(np.zeros(2, np.int64), 1001), np.zeros(2, np.int64), ("x",) * 1001) == ()


def rows_of_a_rare_class(count: int) -> tuple[Float64, Int64]:
    """Logits by Bayes' rule and classes: of normal features about 0 and 2, the second class one row in fifty."""
    targets = (RNG.random(count) < 0.02).astype(np.int64)
    log_odds = 2 * (RNG.normal(size=count) + 2 * targets) - 2
    return np.stack([np.zeros(count), log_odds], axis=1), targets  # of equally common classes


def test_probabilities_of_a_weighted_loss_are_honest_by_its_weights() -> None:
    """And divided by them, for rows as they come."""
    logits, targets = rows_of_a_rare_class(20_000)
    weights = np.array([1 / 0.98, 1 / 0.02]) / 2
    probabilities = 1 / (1 + np.exp(-logits[:, 1]))
    both = np.stack([1 - probabilities, probabilities], axis=1)
    as_they_come = both / weights
    as_they_come /= as_they_come.sum(axis=1, keepdims=True)
    assert np.average(both[:, 1], weights=weights[targets]) == pytest.approx(0.5, abs=0.02)
    assert as_they_come[:, 1].mean() == pytest.approx(0.02, abs=0.003) != pytest.approx(both[:, 1].mean(), abs=0.1)
    assert max(ece(both, targets, weights=weights[targets]), ece(as_they_come, targets)) < 0.03
    assert nll(as_they_come, targets) < 0.1 < nll(both, targets, weights[targets])
    fitted = fit_temperature((logits * 3)[None].astype(np.float32), targets, weights[targets])
    assert fitted == pytest.approx(3, rel=0.1)  # the logits are honest where classes are equally common
