"""The study of one data set: for each split, choose p and τ on validation rows, train on all training rows, and test.

Only the last step uses test rows, with the published network in the service's engine.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.reproduce.uci.figures import log_likelihood, rmse
from benchmarks.reproduce.uci.protocol import BATCH, FIT_SHARE, RATES, TAU_FACTORS, TAUS, Indices, splits, weight_decay
from benchmarks.reproduce.uci.stack import Stack, fit, sample
from benchmarks.reproduce.uci.table import Float64, Scale, Table
from service import load_model
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from training import publish_module
from training.networks.layers import Standardise

GRID, FINAL, PLAIN = range(3)
"""Purposes of a training, each with its own random numbers."""
MASK_BYTES = 2**26

Rows = tuple[Float64, Float64]
"""Inputs (rows, features) and targets (rows,)."""


@dataclass(frozen=True, slots=True)
class Study:
    """The settings of a study."""

    table: Table
    layers: int
    hidden: int
    epochs: int
    splits: int
    passes: int
    validation_passes: int
    merge_taus: bool
    """Whether one network a p is trained for all τ in the choice: τ affects the weights only by a decay of
    millionths.
    """
    seed: int

    @property
    def widths(self) -> list[int]:
        """Units from inputs to output."""
        return [self.table.inputs.shape[1], *[self.hidden] * self.layers, 1]


@dataclass(frozen=True, slots=True)
class Choice:
    """The best of a split's grid by validation log-likelihood, and its figures on the validation rows."""

    split: int
    p: float
    tau: float
    rmse: float
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class Result:
    """A split's figures on its test rows, in the target's unit and in nats a row."""

    choice: Choice
    rmse: float
    log_likelihood: float


def choose(study: Study, numbers: Sequence[int], on_epoch: Callable[[], None] = lambda: None) -> list[Choice]:
    """Train the grids of these splits on the first 80 % of the training rows, and choose on the rest."""
    parts = [_halves(study, number) for number in numbers]
    learn, validation = [first for first, _ in parts], [second for _, second in parts]
    rows = len(learn[0][1])
    taus = _taus(study, numbers, learn, validation, on_epoch)
    trained = [grid[1:2] if study.merge_taus else grid for grid in taus]  # the middle one stands for all
    rates = torch.tensor([[p for p in RATES for _ in grid] for grid in trained])
    decays = torch.tensor([[weight_decay(p, tau, rows) for p in RATES for tau in grid] for grid in trained])
    stack, scales = _train(study, GRID, numbers, learn, rates, decays, on_epoch)
    samples = _sample(study, numbers, stack, scales, validation)  # (passes, splits, networks, rows)
    found = zip(numbers, taus, validation, samples.swapaxes(0, 1), strict=True)
    return [_best(number, grid, targets, drawn) for number, grid, (_, targets), drawn in found]


def _best(split: int, taus: Sequence[float], targets: Float64, samples: np.ndarray) -> Choice:
    """Return the best of p × τ, by samples (passes, networks, rows) with p's networks one after the other."""
    a_rate = samples.shape[1] // len(RATES)  # networks of a p: one for each τ, or one for all
    scores = []
    for (i, p), (j, tau) in product(enumerate(RATES), enumerate(taus)):
        drawn = samples[:, i * a_rate + j % a_rate]
        scores.append(Choice(split, p, tau, rmse(drawn, targets), log_likelihood(drawn, targets, tau)))
    return max(scores, key=lambda score: score.log_likelihood)


def judge(study: Study, choices: Sequence[Choice], on_epoch: Callable[[], None] = lambda: None) -> list[Result]:
    """Train one network a split on all its training rows, publish it, and evaluate it through the service's engine."""
    parts = [_split(study, choice.split) for choice in choices]
    rows = [(study.table.inputs[train], study.table.targets[train]) for train, _ in parts]
    rates = torch.tensor([[choice.p] for choice in choices])
    decays = torch.tensor([[weight_decay(choice.p, choice.tau, len(rows[0][0]))] for choice in choices])
    numbers = [choice.split for choice in choices]
    stack, scales = _train(study, FINAL, numbers, rows, rates, decays, on_epoch)
    results = []
    for i, (choice, scale, (_, unseen)) in enumerate(zip(choices, scales, parts, strict=True)):
        network = to_module(stack.layers(i), choice.p, scale)
        inputs, targets = study.table.inputs[unseen].astype(np.float32), study.table.targets[unseen]
        samples = serve(network, inputs).draw_all({"input": inputs}, Sampling(study.passes, study.seed))[..., 0]
        results.append(Result(choice, rmse(samples, targets), log_likelihood(samples, targets, choice.tau)))
    return results


def to_module(layers: Sequence[tuple[Tensor, Tensor]], p: float, scale: Scale) -> nn.Sequential:
    """Return a plain network from raw values to the target in its own unit."""
    standardise = Standardise(torch.zeros(1, len(scale.input_mean)), one_unit=False)
    standardise.mean.copy_(torch.from_numpy(scale.input_mean))
    standardise.spread.copy_(torch.from_numpy(scale.input_std))
    parts: list[nn.Module] = [standardise]
    for number, (weight, bias) in enumerate(layers, start=1):
        if number == len(layers):  # the target's centre and spread go into the last layer
            weight, bias = weight * scale.target_std, bias * scale.target_std + scale.target_mean
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        parts += [nn.Dropout(p), linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def serve(network: nn.Module, example: np.ndarray) -> Engine:
    """Export, verify and publish the network like any other, and load it as the service does."""
    with tempfile.TemporaryDirectory() as folder:
        rows = (torch.from_numpy(example[:8]),)
        published, _ = publish_module(network, rows, name="reproduced", models=Path(folder))
        return load_model(published, MaskCache(MASK_BYTES))


def _split(study: Study, number: int) -> tuple[Indices, Indices]:
    return list(splits(len(study.table.targets), number + 1))[number]


def _halves(study: Study, number: int) -> tuple[Rows, Rows]:
    """Return the training part's rows to fit and to choose by."""
    train, _ = _split(study, number)
    cut = int(FIT_SHARE * len(train))
    inputs, targets = study.table.inputs[train], study.table.targets[train]
    return (inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])


def _train(
    study: Study,
    aim: int,
    numbers: Sequence[int],
    parts: Sequence[Rows],
    rates: Tensor,
    decays: Tensor,
    on_epoch: Callable[[], None],
) -> tuple[Stack, list[Scale]]:
    """Train a group of networks for each split, on its own standardised rows."""
    scales = [Scale.of(*part) for part in parts]
    inputs = np.stack([scale.inputs(part[0]) for scale, part in zip(scales, parts, strict=True)])
    targets = np.stack([scale.targets(part[1]) for scale, part in zip(scales, parts, strict=True)])
    stack = Stack(study.widths, rates, decays)
    fit(
        stack,
        torch.from_numpy(inputs),
        torch.from_numpy(targets),
        epochs=study.epochs,
        batch=BATCH,
        draws=[np.random.default_rng([study.seed, aim, 1 + number]) for number in numbers],
        mask_draw=np.random.default_rng([study.seed, aim]),
        on_epoch=on_epoch,
    )
    return stack, scales


def _sample(
    study: Study, numbers: Sequence[int], stack: Stack, scales: Sequence[Scale], parts: Sequence[Rows]
) -> np.ndarray:
    """Return samples in the target's unit for the choice: (passes, splits, members, rows)."""
    rows = np.stack([scale.inputs(inputs) for scale, (inputs, _) in zip(scales, parts, strict=True)])
    draws = [np.random.default_rng([study.seed, GRID, 1 + number, 1]) for number in numbers]
    samples = sample(stack, torch.from_numpy(rows), study.validation_passes, draws)  # (passes, networks, rows)
    values = samples.unflatten(1, (stack.groups, stack.members)).numpy()  # type: ignore[no-untyped-call]
    std = np.array([scale.target_std for scale in scales], dtype=np.float32)[:, None, None]
    mean = np.array([scale.target_mean for scale in scales], dtype=np.float32)[:, None, None]
    return np.asarray(values * std + mean)


def _taus(
    study: Study,
    numbers: Sequence[int],
    learn: Sequence[Rows],
    validation: Sequence[Rows],
    on_epoch: Callable[[], None],
) -> list[tuple[float, ...]]:
    """Return each split's grid of τ: the authors', or for other data around the precision of a network without
    dropout.
    """
    if study.table.name in TAUS:
        return [TAUS[study.table.name]] * len(numbers)
    none = torch.zeros(len(numbers), 1)
    stack, scales = _train(study, PLAIN, numbers, learn, none, none, on_epoch)
    answers = _sample(replace(study, validation_passes=1), numbers, stack, scales, validation)[
        0, :, 0
    ]  # (splits, rows)
    squares = (answers - np.stack([targets for _, targets in validation])) ** 2
    return [tuple(factor / max(float(mean), 1e-12) for factor in TAU_FACTORS) for mean in squares.mean(axis=1)]
