"""The networks in torch, for the contenders that use it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.sampling.networks import NETWORKS, Network

LAYERS: dict[str, Any] = {
    "linear": nn.Linear,
    "conv": nn.Conv2d,
    "relu": nn.ReLU,
    "dropout": nn.Dropout,
    "pool": nn.MaxPool2d,
    "flatten": nn.Flatten,
}


def build(network: Network) -> nn.Sequential:
    """Return the network with new weights, in evaluation mode."""
    return nn.Sequential(*(LAYERS[kind](*sizes) for kind, *sizes in network.layers)).eval()


def load(folder: Path) -> nn.Sequential:
    """Return the network with the weights in the folder, which has its name."""
    network = build(NETWORKS[folder.name])
    with np.load(folder / "weights.npz") as weights:
        network.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights})
    return network


def dropout_on(network: nn.Module) -> nn.Module:
    """Return the same network, with only its dropout layers in training mode."""
    for layer in network.modules():
        layer.training = isinstance(layer, nn.Dropout)
    return network


class Summary(NamedTuple):
    """The summary of samples, each (rows, classes), and (rows,) in nats."""

    mean: Tensor
    standard_deviation: Tensor
    predictive_entropy: Tensor
    expected_entropy: Tensor


def summarise(logits: Tensor) -> Summary:
    """Return the summary of logits (passes, rows, classes) that all contenders compute."""
    probabilities = logits.softmax(dim=-1)
    mean = probabilities.mean(dim=0)
    expected = torch.special.entr(probabilities).sum(dim=-1).mean(dim=0)
    return Summary(mean, probabilities.std(dim=0), torch.special.entr(mean).sum(dim=-1), expected)
