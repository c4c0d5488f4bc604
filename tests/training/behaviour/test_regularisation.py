"""Losses are those of real trainings, the same for a seed; the verdict follows from them."""

import numpy as np

from training.behaviour.networks import split_of, with_rate
from training.behaviour.regularisation import Run, claim, regularisation
from training.behaviour.settings import QUICK
from training.config import TrainConfig
from training.data import Dataset


def run(learned: float, held_out: float) -> Run:
    """That ends there."""
    return Run(np.array([1.0, learned]), np.array([1.0, held_out]), np.array([0.1, 1 - held_out / 10]))


def test_the_same_seed_gives_the_same_numbers_and_another_others(digits: Dataset, config: TrainConfig) -> None:
    said: list[str] = []
    once, again = (regularisation(digits, config, QUICK, said.append) for _ in range(2))
    assert once == again
    assert said[0].endswith("rows with p = 0, seed 0")
    assert len(said) == 2 * 3 * QUICK.small_seeds
    assert [row[0] for row in once.tables[0].rows] == ["p = 0", "p = 0.2", "p = 0.5"]
    assert with_rate(config, 0.0, 1, 3).dropout == 0
    assert len(split_of(digits, config, 1).test.targets) > QUICK.rows


def test_less_overfitting_holds_and_more_does_not() -> None:
    bad, worse, good, better = run(0.1, 0.8), run(0.1, 0.9), run(0.1, 0.4), run(0.1, 0.45)
    assert claim({0.0: [bad, worse], 0.2: [good, good], 0.5: [good, better]}, QUICK).holds
    assert not claim({0.0: [good, better], 0.2: [good, good], 0.5: [bad, worse]}, QUICK).holds
    assert not claim({0.0: [good, better], 0.2: [good, good], 0.5: [good, better]}, QUICK).holds


def test_a_single_lucky_seed_is_not_enough() -> None:
    lucky = claim({0.0: [run(0.1, 2.0), run(0.1, 0.4)], 0.2: [run(0.1, 0.4)] * 2, 0.5: [run(0.1, 0.4)] * 2}, QUICK)
    assert not lucky.holds
