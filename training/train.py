"""Training data → weights: a plain loop that keeps the best epoch on the validation part."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from training.architecture import make_network, make_unit
from training.checkpoint import Checkpoint, load, save
from training.concrete import with_learned_dropout
from training.config import TrainConfig
from training.data import Dataset, Part, Split
from training.epochs import Epoch, logged
from training.errors import TrainingError
from training.loss import Loss
from training.network import InTargetsUnit, in_targets_unit

__all__ = ["Epoch", "Trained", "choose_device", "train"]

CHUNK = 4096
"""Rows that are validated at once."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The network at its best epoch, in evaluation mode, on the CPU."""

    network: nn.Module
    best: Epoch
    device: str


def train(config: TrainConfig, data: Dataset, split: Split, on_epoch: Callable[[Epoch], None]) -> Trained:
    """Fit a network to the training part; of a regression it answers in the target's own unit.

    Everything random comes from `config.seed`: on the CPU, the same seed gives the same weights bit for bit,
    whether or not the run was interrupted and gone on with.
    Raises TrainingError when the device is not there, its memory is too small, or the loss is not finite.
    """
    device = choose_device(config.device)
    with _told_plainly(config):
        torch.manual_seed(config.seed)
        network = make_network(config, data, torch.from_numpy(split.train.inputs)).to(device)
        unit = make_unit(config, data, torch.from_numpy(split.train.targets))
        loss = Loss(config, unit, rows=len(split.train.targets))
        run = _Run(config, data, network, _tensors(split.train, unit, device), loss)
        best = run.fit(
            _tensors(split.validation, unit, device), logged(on_epoch, config.log, anew=config.resume is None)
        )
        network = with_learned_dropout(network.cpu())
        return Trained((in_targets_unit(network, unit) if unit else network).eval(), best, str(device))


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
"""Inputs (rows, …) and the classes (rows,), or of a regression standardised values (rows, 1)."""


def _tensors(part: Part, unit: InTargetsUnit | None, device: torch.device) -> Tensors:
    targets = torch.from_numpy(part.targets)
    return torch.from_numpy(part.inputs).to(device), (unit.standardised(targets) if unit else targets).to(device)


class _Run:
    """The state of a training run, which an epoch changes and a checkpoint keeps."""

    def __init__(self, config: TrainConfig, data: Dataset, network: nn.Module, rows: Tensors, loss: Loss) -> None:
        self.config, self.data, self.network, self.rows = config, data, network, rows
        self.loss = loss
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        steps = config.epochs * math.ceil(len(rows[0]) / config.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=config.learning_rate, total_steps=steps
        )
        self.best = Epoch(0, config.epochs, math.inf, math.inf, 0.0)
        self.weights = copy.deepcopy(network.state_dict())
        self.done = 0

    def fit(self, validation: Tensors, on_epoch: Callable[[Epoch], None]) -> Epoch:
        """Leave the network with the weights of its best epoch."""
        if self.config.resume:
            self._restore(load(self.config.resume))
        self._save()
        while self.done < self.config.epochs and not self._stalled():
            loss = self._one_epoch()
            epoch = Epoch(self.done + 1, self.config.epochs, loss, *self._validate(validation))
            _check_finite(epoch, self.config)
            if epoch.validation_loss < self.best.validation_loss:
                self.best, self.weights = epoch, copy.deepcopy(self.network.state_dict())
            self.done = epoch.number
            self._save()
            on_epoch(epoch)
        self.network.load_state_dict(self.weights)
        return self.best

    def _stalled(self) -> bool:
        return 0 < self.config.early_stopping <= self.done - self.best.number

    def _one_epoch(self) -> float:
        """One pass over the rows in a new order; their mean loss."""
        inputs, targets = self.rows
        self.network.train()
        total = torch.zeros((), device=inputs.device)  # summed on the device: reading it at every step would stall
        # the order is drawn on the CPU, so that it is the same on every device
        for batch in torch.split(torch.randperm(len(inputs)).to(inputs.device), self.config.batch_size):
            loss = self.loss.of_answers(self.network(inputs[batch]), targets[batch]) + self.loss.of_network(
                self.network
            )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach() * len(batch)
        return total.item() / len(inputs)

    @torch.no_grad()
    def _validate(self, rows: Tensors) -> tuple[float, float, str]:
        """Mean loss and score without dropout, and what the score is."""
        inputs, targets = rows
        self.network.eval()
        answers = torch.cat([self.network(chunk) for chunk in torch.split(inputs, CHUNK)])
        return self.loss.of_answers(answers, targets).item(), *self.loss.score(answers, targets)

    def _save(self) -> None:
        if self.config.checkpoint is None:
            return
        checkpoint = Checkpoint(
            settings=self.config.model_dump(mode="json", exclude={"checkpoint", "resume"}),
            data_sha256=self.data.sha256,
            epoch=self.done,
            best=asdict(self.best),
            best_weights=self.weights,
            state=self.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            random=torch.get_rng_state(),
        )
        save(checkpoint, self.config.checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.data_sha256 != self.data.sha256:
            raise TrainingError(f"resume: the data is not that of the run to go on with; {self.data.name} was changed")
        self.network.load_state_dict(checkpoint.state)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.schedule.load_state_dict(checkpoint.schedule)
        self.best, self.weights, self.done = Epoch(**checkpoint.best), checkpoint.best_weights, checkpoint.epoch
        torch.set_rng_state(checkpoint.random)


def _check_finite(epoch: Epoch, config: TrainConfig) -> None:
    if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
        raise TrainingError(
            f"the loss is no longer a finite number in epoch {epoch.number} of {epoch.of};"
            f" a learning_rate below {config.learning_rate:g} may help"
        )


@contextmanager
def _told_plainly(config: TrainConfig) -> Iterator[None]:
    """Memory that is too small, in words; torch has a type for it on CUDA only."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"the memory of {config.device} is too small for this network and data; a batch_size below"
            f" {config.batch_size}, fewer hidden units, or another device may help"
        ) from error
