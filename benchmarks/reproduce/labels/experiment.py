"""Active learning: a network is trained on few rows, scores the others, and gets the labels of the best.

The scores are those of the service: mutual information is BALD's (Houlsby et al. 2011; with dropout: Gal, Islam &
Ghahramani 2017). The best rows of a round are chosen by their own scores, so that they may be alike.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.reproduce.mnist.study import serve
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, Float64
from training.data import Dataset, Floats, Int64, Part, deal
from training.data.split import equal_rows
from training.errors import TrainingError
from training.networks.layers import Standardise
from training.networks.network import make_mlp

HIDDEN = (256, 256)
DROPOUT = 0.5
STEPS, BATCH = 300, 32
LEARNING_RATE = 3e-3
TEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of labelled rows in each round."""

    first: int = 20
    """Rows labelled at random first, the same for every strategy."""
    batch: int = 10
    """Rows labelled a round."""
    last: int = 200
    passes: int = 100
    """Samples that score each row."""

    @property
    def counts(self) -> list[int]:
        """The number of labels in each round."""
        return list(range(self.first, self.last + 1, self.batch))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that may be labelled, and held-out rows."""

    pool: Part
    test: Part


def mutual_information(uncertainty: ClassUncertainty) -> Float64:
    """Return the mutual information (rows,), in nats."""
    return uncertainty.mutual_information


def entropy(uncertainty: ClassUncertainty) -> Float64:
    """Return the predictive entropy (rows,), in nats."""
    return uncertainty.predictive_entropy


SCORES: dict[str, Callable[[ClassUncertainty], Float64] | None] = {
    "mutual information": mutual_information,
    "entropy": entropy,
    "chance": None,
}
"""Strategies; the rows with the highest score are labelled next, or random ones without a score."""


def check_plan(plan: Plan, data: Dataset) -> None:
    """Raise TrainingError where the data has no classes, or too few rows for the plan."""
    if not data.labels or data.inputs.ndim != 2:
        raise TrainingError(f"data: {data.name} must be a table of classes")
    rows = len(divide(data, seed=0).pool.targets)
    if not plan.first <= plan.last < rows:
        raise TrainingError(f"last: expected from {plan.first} to {rows - 1} of the {rows} rows; found {plan.last}")


def divide(data: Dataset, seed: int) -> Rows:
    """Return pool and test rows, stratified, without equal rows in both."""
    test, pool = deal(data.targets.astype(np.int64), (TEST_SHARE,), seed, equal_rows(data.inputs))
    return Rows(*(Part(data.inputs[rows], data.targets[rows]) for rows in (pool, test)))


def learn(data: Dataset, way: str, seed: int, plan: Plan, on_round: Callable[[int, float], None]) -> list[float]:
    """Return the accuracy on the test rows after each of `plan.counts` labels, chosen by this strategy.

    `seed` determines the split, the first rows, the weights and the dropout.
    """
    rows, chance = divide(data, seed), np.random.default_rng(seed)
    order = chance.permutation(len(rows.pool.targets))
    labelled, rest = order[: plan.first], order[plan.first :]
    accuracies = []
    for count in plan.counts:
        network = fit(data, rows.pool, labelled, seed)
        accuracies.append(_accuracy(network, rows.test))
        on_round(count, accuracies[-1])
        if count + plan.batch <= plan.last:
            best = _choose(SCORES[way], network, rows.pool.inputs[rest], data.labels, Sampling(plan.passes, seed))
            labelled, rest = np.append(labelled, rest[best[: plan.batch]]), np.delete(rest, best[: plan.batch])
    return accuracies


def fit(data: Dataset, pool: Part, labelled: Int64, seed: int) -> nn.Sequential:
    """Return a new network after a fixed number of steps, in evaluation mode."""
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(pool.inputs[labelled]), torch.from_numpy(pool.targets[labelled])
    first = OrderedDict[str, nn.Module](standardise=Standardise(inputs, one_unit=data.one_unit))
    network = make_mlp(first, inputs.shape[1], HIDDEN, len(data.labels), DROPOUT, input_p=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    for _ in range(STEPS):
        batch = torch.randint(len(inputs), (BATCH,))
        loss = cross_entropy(network(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@torch.no_grad()
def _accuracy(network: nn.Module, part: Part) -> float:
    """Return the accuracy without dropout."""
    return float((network(torch.from_numpy(part.inputs)).argmax(dim=1).numpy() == part.targets).mean())


def _choose(
    score: Callable[[ClassUncertainty], Float64] | None,
    network: nn.Module,
    rows: Floats,
    labels: Sequence[str],
    sampling: Sampling,
) -> Int64:
    """Return row numbers of rows (rows, features), the best first; rows are in random order already."""
    if score is None:
        return np.arange(len(rows))
    uncertainty = serve(network, rows, labels).sample({"input": rows}, sampling).uncertainty
    assert isinstance(uncertainty, ClassUncertainty)
    return np.argsort(-score(uncertainty), kind="stable")
