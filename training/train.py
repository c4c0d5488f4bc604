"""Training data → weights: a plain loop that keeps the best epoch on the validation part."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.config import TrainConfig
from training.data import Dataset, Part, Split
from training.errors import TrainingError
from training.network import Standardise, make_mlp


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far training has come. Losses are nats a row, the training loss with dropout and the other without."""

    number: int
    of: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The network at its best epoch, in evaluation mode, on the CPU."""

    network: nn.Module
    best: Epoch
    device: str


def train(config: TrainConfig, data: Dataset, split: Split, on_epoch: Callable[[Epoch], None]) -> Trained:
    """Fit an MLP to the training part.

    Everything random comes from `config.seed`: on the CPU, the same seed gives the same weights bit for bit.
    Raises TrainingError when the device is not there or the loss is not finite.
    """
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    standardise = Standardise(torch.from_numpy(split.train.inputs), one_unit=data.one_unit)
    network = make_mlp(standardise, config.hidden, len(data.labels), config.dropout, config.input_dropout).to(device)
    best = _fit(network, config, _tensors(split.train, device), _tensors(split.validation, device), on_epoch)
    return Trained(network.cpu().eval(), best, str(device))


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA when there is some, else Apple's MPS, else the CPU; raises TrainingError for one not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    device = torch.device(name)
    if not available[device.type]:
        raise TrainingError(f"device: this machine, or this build of torch, has no {device.type}; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"device: there is no {name}; the last one is cuda:{torch.cuda.device_count() - 1}")
    return device


Tensors = tuple[Tensor, Tensor]
"""Inputs (rows, features) and the classes (rows,)."""


def _tensors(part: Part, device: torch.device) -> Tensors:
    return torch.from_numpy(part.inputs).to(device), torch.from_numpy(part.targets).to(device)


def _fit(
    network: nn.Module, config: TrainConfig, rows: Tensors, validation: Tensors, on_epoch: Callable[[Epoch], None]
) -> Epoch:
    """Leave the network with the weights of its best epoch."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = config.epochs * math.ceil(len(rows[0]) / config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=config.learning_rate, total_steps=steps)
    best = Epoch(0, config.epochs, math.inf, math.inf, 0.0)
    weights = network.state_dict()
    for number in range(1, config.epochs + 1):
        loss = _one_epoch(network, optimizer, schedule, rows, config.batch_size)
        epoch = Epoch(number, config.epochs, loss, *_validate(network, validation))
        _check_finite(epoch, config)
        on_epoch(epoch)
        if epoch.validation_loss < best.validation_loss:
            best, weights = epoch, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return best


def _one_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rows: Tensors,
    batch_size: int,
) -> float:
    """One pass over the rows in a new order; their mean loss."""
    inputs, targets = rows
    network.train()
    total = torch.zeros((), device=inputs.device)  # summed on the device: reading it at every step would stall
    # the order is drawn on the CPU, so that it is the same on every device
    for batch in torch.split(torch.randperm(len(inputs)).to(inputs.device), batch_size):
        loss = cross_entropy(network(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.detach() * len(batch)
    return total.item() / len(inputs)


@torch.no_grad()
def _validate(network: nn.Module, rows: Tensors) -> tuple[float, float]:
    """Mean loss and accuracy without dropout."""
    inputs, targets = rows
    network.eval()
    logits = network(inputs)
    return cross_entropy(logits, targets).item(), (logits.argmax(dim=1) == targets).float().mean().item()


def _check_finite(epoch: Epoch, config: TrainConfig) -> None:
    if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
        raise TrainingError(
            f"the loss is no longer a finite number in epoch {epoch.number} of {epoch.of};"
            f" a learning_rate below {config.learning_rate:g} may help"
        )
