"""Ensembles are averages of what the engine draws; the verdict follows from the figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from service.engine.sampling import Sampling
from service.model.manifest import Noise
from tests.toy import ToyNet
from training.behaviour.consensus import Measured, claim, measure
from training.behaviour.disagreement import Disagreement, error_by_part
from training.behaviour.ensembles import Ensembles
from training.behaviour.groups import Groups
from training.behaviour.scores import ACCURACY, Score, ensemble_nll
from training.behaviour.served import Served, open_served
from training.behaviour.settings import QUICK
from training.data import Part
from training.evidence.metrics.classes import accuracy, nll

ERROR = Score("relative RMSE", -1, 0.02, 2.0)
MEASURES = {"mutual information": np.arange(40.0), "variation ratio": np.arange(40.0)}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return open_served(ToyNet().publish(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def test_rows() -> Part:
    toy = ToyNet()
    inputs = toy.rows(120)
    targets = toy.predict(inputs).argmax(axis=1).astype(np.int64)
    targets[::10] = (targets[::10] + 1) % 3
    return Part(inputs, targets)


def consenting(**changes: object) -> Measured:
    """That bears the claim out."""
    ensembles = Ensembles(
        sizes=np.array([1.0, 16.0]),
        score=np.array([0.8, 0.9]),
        nll=np.array([0.5, 0.3]),
        scaled_score=0.9,
        scaled_nll=0.31,
    )
    disagreement = Disagreement(wrong=(np.arange(40) >= 36).astype(np.float64), measures=MEASURES)
    of_wrong = {key: value for key, value in changes.items() if key in ("wrong", "measures")}
    others = {key: value for key, value in changes.items() if key not in of_wrong}
    return Measured(replace(ensembles, **others), replace(disagreement, **of_wrong))  # type: ignore[arg-type]


def slightly_other(**changes: object) -> Measured:
    """For no two seeds give the same numbers, and what has no spread has no bounds."""
    swapped = np.arange(40.0)
    swapped[[35, 36]] = swapped[[36, 35]]
    numbers = {"score": np.array([0.79, 0.901]), "nll": np.array([0.52, 0.301])}
    return consenting(**(numbers | {"measures": dict.fromkeys(MEASURES, swapped)} | changes))


def test_ensembles_are_averages_of_what_the_engine_draws(served: Served, test_rows: Part) -> None:
    measured = measure(served, test_rows, ACCURACY, QUICK).ensembles
    engine, targets = served.engine, test_rows.targets.astype(np.int64)
    samples = engine.sampled_values(engine.draw_all({"input": test_rows.inputs}, Sampling(16, QUICK.seed)))
    assert measured.sizes.tolist() == [1, 2, 5, 10, 16]
    assert measured.score[0] == pytest.approx(np.mean([accuracy(one, targets) for one in samples]))
    assert measured.nll[-1] == pytest.approx(nll(samples.mean(axis=0), targets))
    assert measured.nll[1] == pytest.approx(
        np.mean([nll(samples[i : i + 2].mean(axis=0), targets) for i in range(0, 16, 2)])
    )
    assert measured.scaled_score == pytest.approx(0.9)
    assert measured.nll[-1] <= measured.nll[0]


def test_the_verdict_follows(served: Served, test_rows: Part) -> None:
    without = [consenting()] * 2
    good = [consenting(), slightly_other()]
    other = {served.title: measure(served, test_rows, ACCURACY, QUICK)}
    reported = claim(Groups({0.0: without, 0.2: without, 0.5: good}, other), ACCURACY, QUICK)
    assert reported.verdict == "holds", reported.findings
    assert any("AUROC" in finding.what for finding in reported.findings if finding.what.startswith("toy/1: "))
    assert len(reported.plots) == 3


NEVER = {"mutual information": np.arange(40.0)[::-1], "variation ratio": np.arange(40.0)}
SELDOM = {name: np.roll(doubt, 1) for name, doubt in NEVER.items()}


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ({"score": np.array([0.9, 0.9])}, {"score": np.array([0.9, 0.9])}, "not shown"),
        ({"nll": np.array([0.3, 0.3])}, {"nll": np.array([0.3, 0.3])}, "not shown"),
        ({"score": np.array([0.9, 0.85])}, {"score": np.array([0.9, 0.851])}, "does not hold here"),
        ({"measures": NEVER}, {"measures": SELDOM}, "does not hold here"),
        ({"wrong": np.zeros(40)}, {"wrong": np.zeros(40)}, "not shown"),
    ],
    ids=["all agree", "no less surprised", "worse together", "doubt of the right", "none wrong"],
)
def test_it_does_not_hold(first: dict[str, object], second: dict[str, object], verdict: str) -> None:
    without = [consenting()] * 2
    dropped = [consenting(**first), slightly_other(**second)]
    reported = claim(Groups({0.0: without, 0.2: without, 0.5: dropped}, {}), ACCURACY, QUICK)
    assert reported.verdict == verdict


def test_errors_by_tenth_of_the_rows() -> None:
    share, low, high = error_by_part([consenting().disagreement], "mutual information", ACCURACY)
    assert share.tolist() == [0] * 9 + [1]
    never = stats.binomtest(0, 4).proportion_ci(0.95, method="exact")
    assert (low[0], high[0]) == pytest.approx((never.low, never.high))
    assert high[0] > 0.5
    alike = replace(consenting().disagreement, measures={"mutual information": np.zeros(40)})
    share, _, _ = error_by_part([alike, alike], "mutual information", ACCURACY)
    assert share == pytest.approx(np.full(10, 0.1))


def test_a_regressions_scores_are_in_deviations_of_its_target() -> None:
    targets = np.array([[1.0], [5.0]], dtype=np.float32)
    values = np.array([[[3.0], [5.0]], [[1.0], [9.0]]])  # (passes, rows, outputs)
    assert ERROR.of(values, targets) == pytest.approx([np.sqrt(2) / 2, np.sqrt(8) / 2])
    assert ERROR.wrong(values[0], targets) == pytest.approx([1.0, 0.0])
    assert float(ERROR.lost(np.array(0.5), np.array(0.7))) == pytest.approx(0.2)


def test_a_regressions_likelihood_is_that_of_the_mixture(tmp_path: Path) -> None:
    manifest = open_served(ToyNet().publish(tmp_path)).manifest
    noisy = manifest.model_copy(update={"task": "regression", "labels": (), "noise": Noise(std=0.5)})
    targets, samples = np.array([[1.0]], dtype=np.float32), np.array([[[0.0]], [[1.5]]])
    density = np.mean([stats.norm.pdf(1.0, 0.0, 0.5), stats.norm.pdf(1.0, 1.5, 0.5)])
    assert ensemble_nll(samples, targets, noisy) == pytest.approx(-np.log(density))
    assert np.isnan(ensemble_nll(samples, targets, noisy.model_copy(update={"noise": None})))
