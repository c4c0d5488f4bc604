"""Fit a network to the training part: a plain loop that keeps the best epoch on the validation part."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data import Dataset, Part, Split
from training.errors import TrainingError
from training.loop.batches import Tensors, batches, cut, near
from training.loop.checkpoint import load
from training.loop.class_weights import class_weights
from training.loop.distributed import ranks
from training.loop.log_files import Epoch, logged, to_tensorboard
from training.loop.loss import Loss
from training.loop.scaling import Scaling
from training.loop.state import State
from training.networks.architecture import check_trains, make_network
from training.networks.concrete import ConcreteDropout, with_learned_dropout
from training.networks.device import (
    autocast,
    choose_device,
    choose_precision,
    compiled,
    explained,
    ieee_float32,
    named,
    placed,
)
from training.networks.dropout import cheap_masks

NOT_VALIDATED = (0.0, 0.0, "")
"""Losses and score of the processes that do not validate."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The network at its best epoch, in evaluation mode, on the CPU."""

    network: nn.Module
    best: Epoch
    device: str
    precision: str
    imputation: tuple[float, ...]
    """Imputed values, one a feature; empty where none may be missing."""


def train(config: TrainConfig, data: Dataset, split: Split, on_epoch: Callable[[Epoch], None]) -> Trained:
    """Fit a network to the training part; a regression's answers are in the target's own unit.

    Everything random comes from `config.seed`: on the CPU, the same seed gives the same weights bit for bit, whether or
    not the run was interrupted and resumed. Of several processes, all call this. Raises TrainingError when the device
    does not exist, its memory is too small, or the loss is not finite.
    """
    device = choose_device(config.device, ranks().local)
    with explained(config, device):
        run, scaling = begin(config, data, split.train, device)
        best = run.fit(scaling.tensors(split.validation), _with_logs(config, on_epoch))
        network = run.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network = scaling.around(with_learned_dropout(network)).eval()
        return Trained(network, best, str(device), named(run.precision), scaling.imputation)


def _with_logs(config: TrainConfig, on_epoch: Callable[[Epoch], None]) -> Callable[[Epoch], None]:
    """Return the first process's callback for each epoch, with all logs that are set."""
    if not ranks().first:
        return lambda _: None
    return to_tensorboard(logged(on_epoch, config.log, anew=config.resume is None), config.tensorboard)


def begin(config: TrainConfig, data: Dataset, rows: Part, device: torch.device) -> tuple["Run", Scaling]:
    """Return a run over these rows before its first pass, and the layers around its network."""
    torch.manual_seed(config.seed)
    scaling = Scaling(config, data, rows)
    tensors = scaling.tensors(rows)
    network = placed(make_network(config, data, tensors[0]), device)
    if config.module:
        check_trains(network, tensors[0], device, choose_precision(config.precision, device), f"module {config.module}")
    loss = Loss(config, scaling.unit, rows=len(rows.targets), class_weights=_weights(config, data, rows, device))
    return Run(config, data, network, loss, tensors, device), scaling


def _weights(config: TrainConfig, data: Dataset, rows: Part, device: torch.device) -> Tensor | None:
    """Return the class weights on the device; None where all are equal."""
    weights = class_weights(config, data, rows)
    return torch.tensor(weights, dtype=torch.float32, device=device) if weights else None


class Run:
    """The epochs of a training run."""

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        network: nn.Module,
        loss: Loss,
        rows: Tensors,
        device: torch.device,
    ) -> None:
        """Prepare the epochs on `rows`, those of the training part; the network is on the device."""
        self.config, self.data, self.network, self.device, self.ranks = config, data, network, device, ranks()
        self.rows, self.precision = near(rows, device), choose_precision(config.precision, device)
        self.forward = compiled(self.ranks.together(network, device), config.compile)
        self.loss = loss
        self.optimizer = torch.optim.AdamW(
            _decayed(network, config.weight_decay), lr=config.learning_rate, fused=device.type != "mps"
        )
        steps = config.epochs * len(cut(torch.arange(len(rows[0])), config.batch_size))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=config.learning_rate, total_steps=steps
        )
        self.order = torch.Generator().manual_seed(config.seed)  # on the CPU: the same on every device
        if not self.ranks.first:
            torch.manual_seed(self.ranks.seed(config.seed))  # each process drops other units
        self.state = State(config, data, network, self.optimizer, self.schedule, self.order, device)

    def fit(self, validation: Tensors, on_epoch: Callable[[Epoch], None]) -> Epoch:
        """Train until the last epoch or early stopping; the network then has the weights of the best epoch, which is
        returned.
        """
        state, validation = self.state, near(validation, self.device)
        if self.config.resume:
            state.restore(load(self.config.resume))
        state.keep()
        while state.done < self.config.epochs and not self._stalled():
            epoch = self._one_epoch(validation)
            _check_finite(epoch, self.config)
            state.take(epoch)
            on_epoch(epoch)  # before the checkpoint: a run that is stopped between the two logs the epoch again
            state.keep()
        self.network.load_state_dict(state.best_weights)
        return state.best

    def _stalled(self) -> bool:
        return 0 < self.config.early_stopping <= self.state.done - self.state.best.number

    def _one_epoch(self, validation: Tensors) -> Epoch:
        """Return the first process's figures, so that all agree on the best epoch."""
        loss, rate = self.one_pass(), float(self.schedule.get_last_lr()[0])
        found = self.validate(validation) if self.ranks.first else NOT_VALIDATED
        return self.ranks.of_first(Epoch(self.state.done + 1, self.config.epochs, loss, *found, rate))

    @ieee_float32()
    def one_pass(self) -> float:
        """Train one pass over the rows in a new order; return their mean loss, without the penalty of the weights."""
        order = torch.randperm(len(self.rows[0]), generator=self.order)
        total = torch.zeros((), device=self.device)  # summed on the device: reading it at every step would stall
        self.network.train()
        with self._masks():
            for inputs, targets, rows, of in batches(self.rows, order, self.config.batch_size, self.ranks, self.device):
                with autocast(self.device, self.precision):
                    answers = self.forward(inputs)
                loss, penalty = self.loss.of_answers(answers.float(), targets), self.loss.of_network(self.network)
                total += loss.detach() * rows
                if self.ranks.size > 1:  # gradients are averaged over processes, whose numbers of rows differ
                    loss = loss * (rows * self.ranks.size / of)
                self.optimizer.zero_grad()
                (loss + penalty).backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                self.schedule.step()
        return self.ranks.summed(total).item() / len(order)

    def _masks(self) -> AbstractContextManager[None]:
        cheaper = self.device.type == "cpu" and self.config.compile == "off"
        return cheap_masks(self.network) if cheaper else nullcontext()

    @torch.no_grad()
    @ieee_float32()
    def validate(self, rows: Tensors) -> tuple[float, float, str]:
        """Return the mean loss and the score without dropout, and the score's name.

        Each call takes as many rows as a step trains on, so that a smaller batch needs less memory here, too.
        """
        inputs, targets = rows
        self.network.eval()
        at_once = max(1, self.config.batch_size // self.ranks.size)
        answers = torch.cat([self.network(chunk.to(self.device)) for chunk in cut(inputs, at_once)])
        targets = targets.to(self.device)
        return self.loss.of_answers(answers, targets).item(), *self.loss.score(answers, targets)


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters with weight decay, and those without: learned probabilities, which would drift to ½."""
    logits = [layer.logit for layer in network.modules() if isinstance(layer, ConcreteDropout)]
    ids = {id(logit) for logit in logits}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": weight_decay}]
    return [*groups, {"params": logits, "weight_decay": 0.0}] if logits else groups


def _check_finite(epoch: Epoch, config: TrainConfig) -> None:
    if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
        raise TrainingError(
            f"the loss is no longer a finite number in epoch {epoch.number} of {epoch.of};"
            f" a learning_rate below {config.learning_rate:g} may help"
        )
