"""A small data set's worth of what a report is made of."""

import pytest

from training.behaviour.networks import Network, capped, one_thread, split_of, train_network, with_rate
from training.behaviour.settings import QUICK
from training.config import TrainConfig
from training.data import Dataset
from training.pipeline import settled


@pytest.fixture(scope="session")
def config(digits: Dataset) -> TrainConfig:
    return settled(TrainConfig(hidden=(24, 24), device="cpu"), digits, 900)


@pytest.fixture(scope="session")
def network(digits: Dataset, config: TrainConfig) -> Network:
    """Of p = 0.5; not to be changed."""
    split = capped(digits, split_of(digits, config, 0), QUICK)
    with one_thread():
        return train_network(digits, with_rate(config, 0.5, 0, QUICK.epochs), split, QUICK.steps)
