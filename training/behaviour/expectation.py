"""Compare classic with inverted dropout: the same training, predictions, and mean over masks."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from service.model.runtime import Array
from training.behaviour.claim import Finding, Table
from training.behaviour.classic import classic_twin, scaled_down
from training.behaviour.networks import Network
from training.behaviour.scores import Score
from training.behaviour.served import largest_relative, run
from training.behaviour.statistics import bernstein

ROUNDING = 1e-5
"""The relative rounding of float32 sums in another order."""
EXPECTED_ROWS = 50
"""Rows of the mean over masks."""
EXPECTED_PASSES = 4000
"""Masks of that mean."""
CHUNK = 250
"""Masks that are applied at once."""


def of_classic(network: Network, alpha: float) -> Iterator[Finding]:
    """Yield findings: both train and predict the same, and predict the mean over masks at the last layer."""
    assert isinstance(network.module, nn.Sequential)
    ours, rows = network.module, torch.from_numpy(network.test.inputs)
    twin = classic_twin(ours)
    error = max(largest_relative(_thinned(ours, rows, seed), _thinned(twin, rows, seed)) for seed in range(10))
    what = f"classic dropout, p = {network.p:g}, same masks: in training against inverted dropout, relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    error = largest_relative(run(ours.eval(), rows), run(scaled_down(twin).eval(), rows))
    what = f"classic weights × (1-p), p = {network.p:g}: predictions against inverted dropout, relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    kinds = {"inverted": False, "classic": True}
    for name, classic in kinds.items():
        off, share = off_in_expectation(ours, rows[:EXPECTED_ROWS], network.seed, classic, alpha / len(kinds))
        what = f"mean over masks, last linear layer, {name}, p = {network.p:g}: difference from the prediction"
        yield Finding(what, f"{off:.1e} relative, {share:.2f} of its bound", "at most 1 of its bound", share <= 1)


def _thinned(module: nn.Module, rows: Tensor, seed: int) -> Array:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return run(module.train(), rows)


def off_in_expectation(
    network: nn.Sequential, rows: Tensor, seed: int, classic: bool, alpha: float
) -> tuple[float, float]:
    """Return the difference of the mean over masks, relative to the largest prediction and as a share of its bound.

    The dropout layer itself runs in training mode, on its inputs at prediction.
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
    """Return the sum of the units under EXPECTED_PASSES masks: (rows, units)."""
    total = torch.zeros_like(units)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(EXPECTED_PASSES // CHUNK):
            total += dropout.train()(units.expand(CHUNK, *units.shape)).sum(dim=0)
    return total.numpy()


def predictions(network: Network, score: Score) -> Table:
    """Return the score of both kinds of dropout, with and without their scaling."""
    assert isinstance(network.module, nn.Sequential)
    twin = classic_twin(network.module)
    rows, targets = network.test.inputs, network.test.targets
    predicted = {
        "inverted, weights as trained": network.module.eval(),
        "classic, weights × (1-p)": scaled_down(twin).eval(),
        "classic, without scaling": twin.eval(),
        "inverted, wrongly scaled by 1-p": scaled_down(network.module).eval(),
    }
    cells = [(name, f"{float(score.of(run(module, rows), targets)):.4f}") for name, module in predicted.items()]
    return Table(f"Predictions for {len(rows)} test rows.", ("network", score.name), cells)
