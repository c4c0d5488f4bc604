"""Networks, data and settings of training, the same for all contenders. Needs only numpy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
BATCH = 128
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-2
DROPOUT = 0.5

Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


class Network(NamedTuple):
    """A network with the layers of training/networks/network.py, behind the standardisation."""

    name: str
    inputs: tuple[int, ...]
    hidden: tuple[int, ...]
    pattern: float
    """Standard deviation of the pixels of a class's pattern; that of its noise is 1. It is so small that missing
    dropout, or another omission of a contender, shows in the training loss.
    """


NETWORKS = {
    "mlp": Network("mlp", (784,), (1024, 1024, 1024), 0.07),
    "lenet": Network("lenet", (1, 28, 28), (500,), 0.15),
}


def make_rows(network: Network, steps: int, seed: int) -> Rows:
    """Return the rows of an epoch of so many steps: a class's pattern of coarse patches, with noise."""
    rng = np.random.default_rng(seed)
    coarse = network.pattern * rng.standard_normal((CLASSES, 7, 7), dtype=np.float32)
    patterns = coarse.repeat(4, axis=1).repeat(4, axis=2).reshape(CLASSES, 784)
    targets = rng.integers(CLASSES, size=steps * BATCH)
    inputs = patterns[targets] + rng.standard_normal((len(targets), 784), dtype=np.float32)
    return inputs.reshape(-1, *network.inputs), targets
