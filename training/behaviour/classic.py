"""Dropout as first published, without scaling in training (Srivastava et al. 2014), for comparison."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn


class ClassicDropout(nn.Module):
    """Zero units with probability p in training without scaling; draws are those of `nn.Dropout`."""

    def __init__(self, p: float) -> None:
        """Drop with probability `p`."""
        super().__init__()
        self.p = p

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (rows, …), thinned in training mode."""
        return rows * torch.empty_like(rows).bernoulli_(1 - self.p) if self.training else rows


def classic_twin(network: nn.Sequential) -> nn.Sequential:
    """Return the equivalent network of classic dropout: weights behind dropout are 1/(1-p) times those of `network`.

    With the same masks both give the same answers in training, up to rounding. Training the twin would give other
    weights, as its gradients are scaled.
    """
    layers = OrderedDict(copy.deepcopy(network).named_children())
    for name, layer in layers.items():
        if isinstance(layer, nn.Dropout):
            layers[name] = ClassicDropout(layer.p)
    return _times(nn.Sequential(layers), lambda p: 1 / (1 - p))


def scaled_down(twin: nn.Sequential) -> nn.Sequential:
    """Return the network with which classic dropout predicts: weights behind dropout times 1-p."""
    return _times(copy.deepcopy(twin), lambda p: 1 - p)


def _times(network: nn.Sequential, factor: Callable[[float], float]) -> nn.Sequential:
    """Multiply the weights of linear layers behind dropout; biases are unchanged."""
    layers = list(network)
    with torch.no_grad():
        for before, layer in pairwise(layers):
            if isinstance(before, nn.Dropout | ClassicDropout) and isinstance(layer, nn.Linear):
                layer.weight *= factor(before.p)
    return network
