"""Dropout as it was first published, without scaling in training (Srivastava et al. 2014), to set beside ours."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn


class ClassicDropout(nn.Module):
    """Zeroes units with probability p in training, and scales nothing; it draws as `nn.Dropout` does."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, …) → the same."""
        return rows * torch.empty_like(rows).bernoulli_(1 - self.p) if self.training else rows


def classic_twin(network: nn.Sequential) -> nn.Sequential:
    """The network of classic dropout that stands for ours: weights behind dropout are 1/(1-p) times ours, so that with
    the same masks both answer the same in training, but for rounding. It is not what training would have come to: its
    gradients are scaled.
    """
    layers = OrderedDict(copy.deepcopy(network).named_children())
    for name, layer in layers.items():
        if isinstance(layer, nn.Dropout):
            layers[name] = ClassicDropout(layer.p)
    return _times(nn.Sequential(layers), lambda p: 1 / (1 - p))


def scaled_down(twin: nn.Sequential) -> nn.Sequential:
    """What classic dropout predicts with: weights behind dropout times 1-p."""
    return _times(copy.deepcopy(twin), lambda p: 1 - p)


def _times(network: nn.Sequential, factor: Callable[[float], float]) -> nn.Sequential:
    """With the weights of linear layers behind dropout multiplied; biases are not."""
    layers = list(network)
    with torch.no_grad():
        for before, layer in pairwise(layers):
            if isinstance(before, nn.Dropout | ClassicDropout) and isinstance(layer, nn.Linear):
                layer.weight *= factor(before.p)
    return network
