"""Classic dropout beside ours: the same in training, the same predictions, and the same mean over masks."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from service.model.runtime import Array
from training.behaviour.answering import largest_relative, run
from training.behaviour.claim import Finding, Table
from training.behaviour.classic import classic_twin, scaled_down
from training.behaviour.networks import Network
from training.behaviour.scores import Score
from training.behaviour.statistics import bernstein

ROUNDING = 1e-5
"""Relative: of float32 sums in another order."""
EXPECTED_ROWS = 50
EXPECTED_PASSES = 4000
CHUNK = 250


def of_classic(network: Network, alpha: float) -> Iterator[Finding]:
    """Both train and predict the same, and what they predict is the mean over masks at the last layer."""
    assert isinstance(network.module, nn.Sequential)
    ours, rows = network.module, torch.from_numpy(network.test.inputs)
    twin = classic_twin(ours)
    error = max(largest_relative(_thinned(ours, rows, seed), _thinned(twin, rows, seed)) for seed in range(10))
    what = f"classic dropout, p = {network.p:g}, same masks: training answers against ours, largest relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    error = largest_relative(run(ours.eval(), rows), run(scaled_down(twin).eval(), rows))
    what = f"classic weights × (1-p), p = {network.p:g}: predictions against ours, largest relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    kinds = {"ours": False, "classic": True}
    for name, classic in kinds.items():
        off, share = off_in_expectation(ours, rows[:EXPECTED_ROWS], network.seed, classic, alpha / len(kinds))
        what = f"mean over masks behind the last linear layer, {name}, p = {network.p:g}: off from the prediction"
        yield Finding(what, f"{off:.1e} relative, {share:.2f} of its bound", "at most 1 of its bound", share <= 1)


def _thinned(module: nn.Module, rows: Tensor, seed: int) -> Array:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return run(module.train(), rows)


def off_in_expectation(
    network: nn.Sequential, rows: Tensor, seed: int, classic: bool, alpha: float
) -> tuple[float, float]:
    """How far the mean over masks is off, relative to the largest number predicted and as a share of its bound.

    The dropout layer itself is run in training mode, on the units that it gets at prediction.
    """
    layers = list(network.eval())
    last, p = max((place, layer.p) for place, layer in enumerate(layers) if isinstance(layer, nn.Dropout))
    trained = classic_twin(network) if classic else network
    predicting = scaled_down(trained) if classic else network
    with torch.no_grad():
        reached = network[:last](rows).double()  # (rows, units)
        total = _total_of_masks(copy.deepcopy(trained[last]), reached, seed)
        weight, final = (each[last + 1].get_parameter("weight").double().numpy() for each in (trained, predicting))
    units, factor = reached.numpy(), 1.0 if classic else 1 / (1 - p)
    mean, wanted = total @ weight.T / EXPECTED_PASSES, units @ final.T
    sizes = np.abs(units[:, None, :] * weight) * factor  # (rows, outputs, units)
    variance = EXPECTED_PASSES * p * (1 - p) * np.square(sizes).sum(axis=-1)
    bound = bernstein(variance, float(sizes.max()) * max(p, 1 - p), alpha / mean.size) / EXPECTED_PASSES
    off = np.abs(mean - wanted)
    return float(off.max() / np.abs(wanted).max()), float((off / bound).max())


def _total_of_masks(dropout: nn.Module, units: Tensor, seed: int) -> Array:
    """The sum of what so many masks leave of the units: (rows, units)."""
    total = torch.zeros_like(units)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(EXPECTED_PASSES // CHUNK):
            total += dropout.train()(units.expand(CHUNK, *units.shape)).sum(dim=0)
    return total.numpy()


def predictions(network: Network, score: Score) -> Table:
    """Of both kinds of dropout, with and without the scaling that belongs to it."""
    assert isinstance(network.module, nn.Sequential)
    twin = classic_twin(network.module)
    rows, targets = network.test.inputs, network.test.targets
    predicted = {
        "ours, weights as trained": network.module.eval(),
        "classic, weights × (1-p)": scaled_down(twin).eval(),
        "classic, scaling forgotten": twin.eval(),
        "ours, needlessly scaled by 1-p": scaled_down(network.module).eval(),
    }
    told = [(name, f"{float(score.of(run(module, rows), targets)):.4f}") for name, module in predicted.items()]
    return Table(f"Predictions for {len(rows)} test rows.", ("network", score.name), told)
