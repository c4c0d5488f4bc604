"""Dropserve's loop: a pass over the training part as in `dropserve train`, with standardisation and schedule."""

import numpy as np
import torch

from benchmarks.training.networks import BATCH, CLASSES, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Network, Rows
from benchmarks.training.protocol import Epoch, serve
from training.config import TrainConfig
from training.data import Dataset, Part
from training.loop.loss import Loss
from training.loop.scaling import Scaling
from training.loop.train import Run
from training.networks.architecture import make_network
from training.networks.device import placed

EPOCHS = 1000
"""Far more than are run, so that the schedule stays at its beginning."""
BEGINS_WITH = 25
"""The ratio of the highest to the first step size."""


def prepare(network: Network, rows: Rows, threads: int) -> Epoch:
    """Return an epoch with the others' step size."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = TrainConfig.model_validate(
        {
            "network": network.name,
            "hidden": network.hidden,
            "dropout": DROPOUT,
            "batch_size": BATCH,
            "learning_rate": BEGINS_WITH * LEARNING_RATE,
            "weight_decay": WEIGHT_DECAY,
            "epochs": EPOCHS,
            "device": "cpu",
        }
    )
    labels = tuple(map(str, np.arange(CLASSES)))
    part = Part(*rows)
    data = Dataset("patterns", *rows, features=(), labels=labels, one_unit=True)
    tensors = Scaling(config, data, part).tensors(part)
    device = torch.device("cpu")
    module = placed(make_network(config, data, tensors[0]), device)
    return Run(config, data, module, Loss(config, None, len(tensors[0])), tensors, device).one_pass


serve(prepare, "torch")
