"""The state of a training run: changed by each epoch, saved in a checkpoint, and restored from one."""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from training.config import TrainConfig
from training.data import Dataset
from training.errors import TrainingError
from training.loop.checkpoint import Checkpoint, save
from training.loop.distributed import ranks
from training.loop.log_files import Epoch
from training.networks.device import random_states, restore_random


def on_host(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies in the host's memory, so that they take none of a GPU's."""
    return {
        name: value.to("cpu", copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in weights.items()
    }


class State:
    """Epochs done, the best of them, and everything that the next one depends on.

    `order` is the generator of the order of rows; torch's own generators, which dropout draws from, belong to it, too.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        order: torch.Generator,
        device: torch.device,
    ) -> None:
        """Begin with no epoch done."""
        self.config, self.data, self.network, self.device = config, data, network, device
        self.optimizer, self.schedule, self.order = optimizer, schedule, order
        self.done = 0
        self.best = Epoch(0, config.epochs, math.inf, math.inf, 0.0)
        self.best_weights = on_host(network.state_dict())

    def take(self, epoch: Epoch) -> None:
        """Record an epoch as done, and as the best if it is; the network must have its weights."""
        self.done = epoch.number
        if epoch.validation_loss < self.best.validation_loss:
            self.best, self.best_weights = epoch, on_host(self.network.state_dict())

    def keep(self) -> None:
        """Write the checkpoint, if there is to be one. All processes call this; the first one writes."""
        if self.config.checkpoint is None:
            return
        random = ranks().of_all(random_states(self.device))
        if not ranks().first:
            return
        checkpoint = Checkpoint(
            settings=self.config.model_dump(mode="json", exclude={"checkpoint", "resume"}),
            data_sha256=self.data.sha256,
            epoch=self.done,
            best=asdict(self.best),
            best_weights=self.best_weights,
            state=self.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            order=self.order.get_state(),
            random=random,
        )
        save(checkpoint, self.config.checkpoint)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore a checkpoint; raise TrainingError where the data is not the same."""
        if checkpoint.data_sha256 != self.data.sha256:
            raise TrainingError(f"resume: the data is not that of the run to resume; {self.data.name} was changed")
        self.network.load_state_dict(checkpoint.state)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.schedule.load_state_dict(checkpoint.schedule)
        self.best, self.best_weights, self.done = Epoch(**checkpoint.best), checkpoint.best_weights, checkpoint.epoch
        self.order.set_state(checkpoint.order)
        if ranks().rank < len(checkpoint.random):  # it may have been by fewer processes
            restore_random(checkpoint.random[ranks().rank], self.device)
