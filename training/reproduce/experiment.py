"""One set of data: for each split, choose p and τ on validation rows, train on all training rows, ask about the test.

Test rows are seen by nothing but the last step, which asks the published network through the service's engine.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service.engine import Engine
from service.loading import load_model
from service.masks import MaskCache
from service.sampling import Sampling
from training.network import Standardise
from training.release import publish_module
from training.reproduce.figures import log_likelihood, rmse
from training.reproduce.protocol import BATCH, FIT_SHARE, RATES, TAU_FACTORS, TAUS, Indices, splits, weight_decay
from training.reproduce.stack import Stack, fit, sample
from training.reproduce.table import Float64, Scale, Table

GRID, FINAL, PLAIN = range(3)
"""What a network is trained for; each has random numbers of its own."""
MASK_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Study:
    """What to run."""

    table: Table
    layers: int
    hidden: int
    epochs: int
    splits: int
    passes: int
    validation_passes: int
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


def choose(study: Study, split: int, on_epoch: Callable[[], None] = lambda: None) -> Choice:
    """Train the grid on the first 80 % of the training rows and judge it on the rest."""
    train, _ = _split(study, split)
    cut = int(FIT_SHARE * len(train))
    inputs, targets = study.table.inputs[train], study.table.targets[train]
    rows, validation = (inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])
    taus = TAUS.get(study.table.name) or _taus(study, split, rows, validation, on_epoch)
    grid = list(product(RATES, taus))
    rates = torch.tensor([[p for p, _ in grid]])
    decays = torch.tensor([[weight_decay(p, tau, cut) for p, tau in grid]])
    stack, scales = _train(study, GRID, [split], [rows], rates, decays, on_epoch)
    samples = _sample(study, stack, scales[0], validation[0], split)  # (passes, networks, rows)
    scores = [
        Choice(split, p, tau, rmse(samples[:, i], validation[1]), log_likelihood(samples[:, i], validation[1], tau))
        for i, (p, tau) in enumerate(grid)
    ]
    return max(scores, key=lambda score: score.log_likelihood)


def judge(study: Study, choices: Sequence[Choice], on_epoch: Callable[[], None] = lambda: None) -> list[Result]:
    """Train one network a split on all its training rows, publish it, and ask the service's engine about the test."""
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
    """Trained weights → a plain network from raw values to the target in its own unit."""
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
    """Export, verify and publish the network as any other, and load it as the service does."""
    with tempfile.TemporaryDirectory() as folder:
        rows = (torch.from_numpy(example[:8]),)
        published, _ = publish_module(network, rows, name="reproduced", models=Path(folder))
        return load_model(published, MaskCache(MASK_BYTES))


def _split(study: Study, number: int) -> tuple[Indices, Indices]:
    return list(splits(len(study.table.targets), number + 1))[number]


def _train(
    study: Study,
    aim: int,
    numbers: Sequence[int],
    parts: Sequence[tuple[Float64, Float64]],
    rates: Tensor,
    decays: Tensor,
    on_epoch: Callable[[], None],
) -> tuple[Stack, list[Scale]]:
    """A group of networks for each split, on its own standardised rows."""
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


def _sample(study: Study, stack: Stack, scale: Scale, inputs: Float64, split: int) -> np.ndarray:
    """The passes' answers in the target's unit, while choosing: (passes, networks, rows)."""
    draw = np.random.default_rng([study.seed, GRID, 1 + split, 1])
    samples = sample(stack, torch.from_numpy(scale.inputs(inputs))[None], study.validation_passes, draw)
    return np.asarray(samples.numpy() * scale.target_std + scale.target_mean)


def _taus(
    study: Study,
    split: int,
    rows: tuple[Float64, Float64],
    validation: tuple[Float64, Float64],
    on_epoch: Callable[[], None],
) -> tuple[float, ...]:
    """The grid of τ for data that the authors give none for, from a network without dropout or weight decay."""
    none = torch.zeros(1, 1)
    stack, scales = _train(study, PLAIN, [split], [rows], none, none, on_epoch)
    samples = _sample(replace(study, validation_passes=1), stack, scales[0], validation[0], split)
    variance = float(np.mean((samples[0, 0] - validation[1]) ** 2))
    return tuple(factor / max(variance, 1e-12) for factor in TAU_FACTORS)
