"""Losses are those of real trainings, the same for a seed; the verdict follows from them."""

from dataclasses import replace

import numpy as np
import pytest

from training.behaviour.claim import Claim
from training.behaviour.networks import few, split_of, with_rate
from training.behaviour.regularisation import Run, claim, regularisation, watched_run
from training.behaviour.settings import QUICK
from training.config import TrainConfig
from training.data import Dataset
from training.loop.train import train


def run(learned: float, held_out: float) -> Run:
    """That ends there."""
    return Run(np.array([1.0, learned]), np.array([1.0, held_out]), np.array([0.1, 1 - held_out / 10]))


def claim_of(without: list[Run], with_: list[Run]) -> Claim:
    pairs = [{0.0: a, 0.5: b} for a, b in zip(without, with_, strict=True)]
    return claim({50: pairs, 100: pairs}, "accuracy", QUICK)


def test_the_same_seed_gives_the_same_numbers_and_another_others(digits: Dataset, config: TrainConfig) -> None:
    said: list[str] = []
    once, again = (regularisation(digits, config, QUICK, said.append) for _ in range(2))
    assert once == again
    assert said[0] == "training on 40 rows with p = 0, seed 0"
    assert len(said) == 2 * 2 * len(QUICK.sizes) * QUICK.small_seeds
    assert [row[0] for row in once.tables[0].rows] == ["40, p = 0", "40, p = 0.5", "80, p = 0", "80, p = 0.5"]
    assert [row[0] for row in once.tables[1].rows] == ["40", "80"]
    assert len(once.plots) == 3


def test_losses_are_those_that_training_sees(digits: Dataset, config: TrainConfig) -> None:
    split = split_of(digits, config, 0)
    learned = few(digits, split.train, 40, 0)
    assert 38 <= len(learned.targets) <= 42
    seen: list[float] = []
    settings = with_rate(config, 0.5, 0, 4)
    parts = replace(split, train=learned, validation=split.test)
    train(settings, digits, parts, lambda epoch: seen.append(epoch.validation_loss))
    assert watched_run(digits, settings, learned, split.test).held_out == pytest.approx(seen)


def test_less_overfitting_holds_and_more_does_not() -> None:
    bad, worse, good, better = run(0.1, 0.8), run(0.1, 0.9), run(0.1, 0.4), run(0.1, 0.45)
    assert claim_of([bad, worse], [good, better]).verdict == "holds"
    assert claim_of([good, better], [bad, worse]).verdict == "does not hold here"
    assert not claim_of([good, better], [good, better]).holds


def test_a_single_lucky_seed_is_not_enough() -> None:
    lucky = claim_of([run(0.1, 2.0), run(0.1, 0.4)], [run(0.1, 0.41), run(0.1, 0.4)])
    assert lucky.verdict == "not shown"
    assert "not shown" in {finding.verdict for finding in lucky.findings}
