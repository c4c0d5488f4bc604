"""Ensembles are averages of what the engine draws; the verdict follows from the figures."""

from dataclasses import replace

import numpy as np
import pytest

from service.sampling import Sampling
from tests.toy import ToyNet
from training.behaviour.consensus import Measured, claim, error_by_part, measure
from training.behaviour.served import Served, open_served
from training.behaviour.settings import QUICK
from training.data import Part
from training.metrics.classes import accuracy, nll


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
    wrong = np.arange(40) >= 36
    figures = Measured(
        sizes=np.array([1.0, 16.0]),
        accuracy=np.array([0.8, 0.9]),
        nll=np.array([0.5, 0.3]),
        scaled_accuracy=0.9,
        scaled_nll=0.31,
        wrong=wrong,
        doubts={"mutual information": np.arange(40.0), "variation ratio": np.arange(40.0)},
    )
    return replace(figures, **changes)  # type: ignore[arg-type]


def test_ensembles_are_averages_of_what_the_engine_draws(served: Served, test_rows: Part) -> None:
    measured = measure(served, test_rows, QUICK)
    engine, targets = served.engine, test_rows.targets.astype(np.int64)
    samples = engine.sampled_values(engine.draw_all({"input": test_rows.inputs}, Sampling(16, QUICK.seed)))
    assert measured.sizes.tolist() == [1, 2, 5, 10, 16]
    assert measured.accuracy[0] == pytest.approx(np.mean([accuracy(one, targets) for one in samples]))
    assert measured.nll[-1] == pytest.approx(nll(samples.mean(axis=0), targets))
    assert measured.nll[1] == pytest.approx(
        np.mean([nll(samples[i : i + 2].mean(axis=0), targets) for i in range(0, 16, 2)])
    )
    assert measured.scaled_accuracy == pytest.approx(0.9)
    assert measured.nll[-1] <= measured.nll[0]


def test_the_verdict_follows(served: Served, test_rows: Part) -> None:
    without = [consenting()] * 2
    good = [consenting(), consenting(nll=np.array([0.52, 0.3]))]
    other = {served.title: measure(served, test_rows, QUICK)}
    told = claim({0.0: without, 0.2: without, 0.5: good}, other, QUICK)
    assert told.holds, told.findings
    assert any(finding.what.startswith("toy/1: AUROC") for finding in told.findings)
    assert len(told.plots) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": np.array([0.9, 0.9])},
        {"nll": np.array([0.3, 0.3])},
        {"doubts": {"mutual information": np.arange(40.0)[::-1], "variation ratio": np.arange(40.0)}},
        {"wrong": np.zeros(40, dtype=np.bool_)},
    ],
    ids=["all agree", "no less surprised", "doubt of the right", "none wrong"],
)
def test_it_does_not_hold(changes: dict[str, object]) -> None:
    without = [consenting()] * 2
    told = claim({0.0: without, 0.2: without, 0.5: [consenting(**changes)] * 2}, {}, QUICK)
    assert not told.holds


def test_errors_by_tenth_of_the_rows() -> None:
    share, _ = error_by_part([consenting()], "mutual information")
    assert share.tolist() == [0] * 9 + [1]
    alike = consenting(doubts={"mutual information": np.zeros(40), "variation ratio": np.zeros(40)})
    share, error = error_by_part([alike, alike], "mutual information")
    assert share == pytest.approx(np.full(10, 0.1))
    assert error == pytest.approx(np.full(10, np.sqrt(0.1 * 0.9 / 8)))
