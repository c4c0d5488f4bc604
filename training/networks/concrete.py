"""Concrete dropout (Gal, Hron & Kendall 2017): how much to drop is learned together with the weights.

A unit that is either kept or dropped has no slope in the probability. While the network learns, a unit is
therefore dropped in part, by a draw from the concrete distribution, whose slope is known; most draws are near 0 or 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

START = 0.1
"""Probability that training begins with, as in the paper."""
TEMPERATURE = 0.1
"""Of the concrete distribution: the nearer to 0, the nearer are its draws to 0 and 1."""
SMALLEST = 1e-7
"""Of the uniform draws, whose logarithm is taken."""
LEAST, MOST = 1e-4, 0.95
"""Of the probability that is published. What is learned tends to 0 with many rows, and where a graph is to drop
something it can be no 0; with 1 nothing would ever pass.
"""


class ConcreteDropout(nn.Module):
    """Dropout with a probability `p` that is a parameter; in evaluation mode the identity.

    `units` are dropped from: what comes in is (rows, units), or where `kind` is Dropout2d (rows, units, height, width).
    """

    def __init__(self, units: int, kind: type[nn.Dropout] | type[nn.Dropout2d] = nn.Dropout) -> None:
        super().__init__()
        self.units, self.kind = units, kind
        self.logit = nn.Parameter(torch.tensor(math.log(START / (1 - START))))

    @property
    def p(self) -> Tensor:
        return self.logit.sigmoid()

    @property
    def entropy(self) -> Tensor:
        """H(p), nats; by softplus it is finite, and so is its slope, however near 0 or 1 p is."""
        return self.p * softplus(-self.logit) + (1 - self.p) * softplus(self.logit)

    def forward(self, values: Tensor) -> Tensor:
        """(rows, units, …) → the same."""
        if not self.training:
            return values
        shape = values.shape if self.kind is nn.Dropout else values.shape[:2] + (1,) * (values.ndim - 2)
        uniform = torch.rand(shape, device=values.device).clamp(SMALLEST, 1 - SMALLEST)
        dropped = ((self.logit + uniform.logit()) / TEMPERATURE).sigmoid()  # equation 5
        return values * ((1 - dropped) / (1 - self.p)).to(values.dtype)

    def learned(self) -> nn.Dropout | nn.Dropout2d:
        """The usual layer with this probability, or the nearest of LEAST … MOST."""
        return self.kind(min(max(self.p.item(), LEAST), MOST))


def with_learned_dropout(network: nn.Module) -> nn.Module:
    """The network with the usual dropout layers in the place of those that learned."""
    for name, layer in network.named_children():
        network.set_submodule(
            name, layer.learned() if isinstance(layer, ConcreteDropout) else with_learned_dropout(layer)
        )
    return network
