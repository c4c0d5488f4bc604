"""What a network costs before it has seen a row: its divergence from a normal prior of the weights, in nats a row.

It is divided by the number of rows learned from, as the loss is a mean over them.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from training.networks.concrete import ConcreteDropout
from training.networks.network import Residual

LENGTH_SCALE = 1e-2
"""Of the prior, as in the code of Gal & Ghahramani (2016)."""


def weight_penalty(network: nn.Module, length_scale: float, rows: int) -> Tensor | float:
    """l² (1-p) ‖M‖² / 2N for each weight matrix M, behind dropout of p: Gal & Ghahramani (2016), section 4.

    Theirs is divided by the precision of the noise, and stands beside half the squared error. A unit that is kept
    counts as it is in their M, and is divided by 1-p by our layers, as by torch's: our W is (1-p) M, and the penalty
    l² ‖W‖² / 2N(1-p). Their code, whose dropout divides too, takes W for M.
    """
    weights = sum(weight.square().sum() / keep for weight, keep in weights_behind_dropout(network))
    return length_scale**2 / (2 * rows) * weights


def concrete_penalty(network: nn.Module, length_scale: float, rows: int) -> Tensor | float:
    """The same, less K H(p) / N for each dropout of K units that is learned.

    So more rows allow less dropout: Gal, Hron & Kendall (2017), equations 3 and 4; their code, too, has W² / (1-p).
    """
    entropies = sum(layer.units * layer.entropy for layer in network.modules() if isinstance(layer, ConcreteDropout))
    return weight_penalty(network, length_scale, rows) - entropies / rows


def weights_behind_dropout(network: nn.Module) -> Iterator[tuple[Tensor, Tensor | float]]:
    """Every weight matrix, and the probability that what it multiplies was kept.

    Layers are taken to work in the order in which they were registered.
    """
    keep: Tensor | float = 1.0
    of_skip: dict[nn.Module, Tensor | float] = {}  # which begins where its block does
    for layer in network.modules():
        if isinstance(layer, ConcreteDropout | nn.Dropout | nn.Dropout2d):
            keep = keep * (1 - layer.p)
        elif isinstance(layer, Residual):
            of_skip[layer.skip] = keep
        elif isinstance(weight := getattr(layer, "weight", None), nn.Parameter) and weight.ndim > 1:
            yield weight, of_skip.get(layer, keep)
            keep = 1.0
