"""Concrete dropout (Gal, Hron & Kendall 2017): dropout probabilities are learned together with the weights.

Dropping a unit or not has no gradient in the probability. During training a unit is therefore dropped in part, by a
draw from the concrete distribution, which has a gradient; most draws are near 0 or 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

START = 0.1
"""The initial probability, as in the paper."""
TEMPERATURE = 0.1
"""The temperature of the concrete distribution: nearer to 0, its draws are nearer to 0 and 1."""
SMALLEST = 1e-7
"""The smallest uniform draw, as its logarithm is taken."""
LEAST, MOST = 1e-4, 0.95
"""Bounds of the published probability. With many rows it tends to 0, and dropout of an exported graph needs more than
0; with 1 all units would be dropped.
"""


class ConcreteDropout(nn.Module):
    """Dropout with a probability `p` that is a parameter; in evaluation mode the identity."""

    def __init__(self, units: int, kind: type[nn.Dropout] | type[nn.Dropout2d] = nn.Dropout) -> None:
        """Drop from `units` units: inputs are (rows, units), or for Dropout2d (rows, units, height, width)."""
        super().__init__()
        self.units, self.kind = units, kind
        self.logit = nn.Parameter(torch.tensor(math.log(START / (1 - START))))

    @property
    def p(self) -> Tensor:
        """The probability, between 0 and 1."""
        return self.logit.sigmoid()

    @property
    def entropy(self) -> Tensor:
        """H(p) in nats; by softplus it and its gradient are finite however near p is to 0 or 1."""
        return self.p * softplus(-self.logit) + (1 - self.p) * softplus(self.logit)

    def forward(self, values: Tensor) -> Tensor:
        """Return values (rows, units, …) with units partly dropped."""
        if not self.training:
            return values
        shape = values.shape if self.kind is nn.Dropout else values.shape[:2] + (1,) * (values.ndim - 2)
        uniform = torch.rand(shape, device=values.device).clamp(SMALLEST, 1 - SMALLEST)
        dropped = ((self.logit + uniform.logit()) / TEMPERATURE).sigmoid()  # equation 5
        return values * ((1 - dropped) / (1 - self.p)).to(values.dtype)

    def learned(self) -> nn.Dropout | nn.Dropout2d:
        """Return the standard layer with this probability, within LEAST … MOST."""
        return self.kind(min(max(self.p.item(), LEAST), MOST))


def with_learned_dropout(network: nn.Module) -> nn.Module:
    """Return the network with standard dropout layers in place of concrete ones."""
    for name, layer in network.named_children():
        network.set_submodule(
            name, layer.learned() if isinstance(layer, ConcreteDropout) else with_learned_dropout(layer)
        )
    return network
