"""The divergence of a network's weights from a normal prior, in nats a row.

It is divided by the number of training rows, as the loss is a mean over them.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from training.networks.concrete import ConcreteDropout
from training.networks.network import Residual

LENGTH_SCALE = 1e-2
"""The length scale of the prior, as in the code of Gal & Ghahramani (2016)."""


def weight_penalty(network: nn.Module, length_scale: float, rows: int) -> Tensor | float:
    """Return l² (1-p) ‖M‖² / 2N summed over weight matrices M behind dropout of p: Gal & Ghahramani (2016), section 4.

    The paper divides it by the precision of the noise, beside half the squared error. In the paper a kept unit counts
    as it is; these layers, as torch's, divide it by 1-p: their W is (1-p) M, and the penalty l² ‖W‖² / 2N(1-p). The
    paper's code, whose dropout divides too, takes W for M.
    """
    weights = sum(weight.square().sum() / keep for weight, keep in weights_behind_dropout(network))
    return length_scale**2 / (2 * rows) * weights


def concrete_penalty(network: nn.Module, length_scale: float, rows: int) -> Tensor | float:
    """Return `weight_penalty` less K H(p) / N for each learned dropout of K units.

    So more rows allow less dropout: Gal, Hron & Kendall (2017), equations 3 and 4; their code, too, has W² / (1-p).
    """
    entropies = sum(layer.units * layer.entropy for layer in network.modules() if isinstance(layer, ConcreteDropout))
    return weight_penalty(network, length_scale, rows) - entropies / rows


def weights_behind_dropout(network: nn.Module) -> Iterator[tuple[Tensor, Tensor | float]]:
    """Yield every weight matrix, and the probability that its inputs were kept.

    Layers are assumed to run in the order of their registration.
    """
    keep: Tensor | float = 1.0
    of_skip: dict[nn.Module, Tensor | float] = {}  # a skip connection begins where its block does
    for layer in network.modules():
        if isinstance(layer, ConcreteDropout | nn.Dropout | nn.Dropout2d):
            keep = keep * (1 - layer.p)
        elif isinstance(layer, Residual):
            of_skip[layer.skip] = keep
        elif isinstance(weight := getattr(layer, "weight", None), nn.Parameter) and weight.ndim > 1:
            yield weight, of_skip.get(layer, keep)
            keep = 1.0
