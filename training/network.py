"""The networks that are trained: raw values in, logits out; preprocessing is their first layer."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Centre each feature and divide it by its spread, so that a client sends values as they are measured.

    The two are taken from the rows it is made with, which must be training rows. A feature that never
    changes is centred only. Features in one unit are divided by their common spread: their own would make
    a pixel that is hardly ever inked louder than all others.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor, *, one_unit: bool) -> None:
        super().__init__()
        centred = rows - rows.mean(dim=0)  # (rows, features)
        variance = centred.square().mean(dim=0)  # (features,)
        spread = (variance.mean().expand_as(variance) if one_unit else variance).sqrt()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, features) → the same."""
        return (rows - self.mean) / self.spread


def make_mlp(standardise: Standardise, hidden: Sequence[int], outputs: int, p: float, input_p: float) -> nn.Sequential:
    """Standardised rows through hidden layers of ReLU units, each followed by dropout, to logits (rows, outputs).

    Where the probability of dropping is 0 there is no dropout layer, hence no mask to feed.
    """
    layers: dict[str, nn.Module] = {"standardise": standardise, **_dropout("input_dropout", input_p)}
    width = standardise.mean.numel()
    for number, units in enumerate(hidden, start=1):
        layers |= {f"hidden_{number}": nn.Linear(width, units), f"relu_{number}": nn.ReLU()}
        layers |= _dropout(f"dropout_{number}", p)
        width = units
    return nn.Sequential(OrderedDict(layers, output=nn.Linear(width, outputs)))


def _dropout(name: str, p: float) -> dict[str, nn.Module]:
    return {name: nn.Dropout(p)} if p > 0 else {}
