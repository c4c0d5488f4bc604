"""Layers with what training rows were like in them: raw values in, the target's own unit out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

LEAST_NOISE = 1e-3
"""Of learned noise, in standard deviations of the target: of rows that are learned by heart the logarithm would have
no bottom.
"""


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

    @property
    def width(self) -> int:
        return self.mean.numel()


class StandardiseChannels(nn.Module):
    """Centre each channel of images and divide it by its spread, both of the rows it is made with."""

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        spread, mean = torch.std_mean(rows, dim=(0, 2, 3), correction=0, keepdim=True)  # (1, channels, 1, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, channels, height, width) → the same."""
        return (rows - self.mean) / self.spread


class Encode(nn.Module):
    """Standardise numbers, and spread each category over as many columns as it has values: 1 at its own, 0 elsewhere.

    `sizes` tells for each feature how many categories it has, 0 for a number. A row's category is the number
    of its value; a number that is none gives zeros at all of them.
    """

    numbers: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, rows: Tensor, sizes: Sequence[int]) -> None:
        super().__init__()
        numbers = [place for place, size in enumerate(sizes) if not size]
        pairs = [(place, float(value)) for place, size in enumerate(sizes) for value in range(size)]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64))
        self.register_buffer("columns", torch.tensor([place for place, _ in pairs], dtype=torch.int64))
        self.register_buffer("values", torch.tensor([value for _, value in pairs]))
        self.standardise = Standardise(rows[:, numbers], one_unit=False) if numbers else None
        self.width = len(numbers) + len(pairs)

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, features) → (rows, numbers and then categories)."""
        encoded = (rows.index_select(1, self.columns) == self.values).to(rows.dtype)
        if self.standardise is None:
            return encoded
        return torch.cat([self.standardise(rows.index_select(1, self.numbers)), encoded], dim=1)


class InTargetsUnit(nn.Module):
    """The last layer of a regression: its network answers in standard deviations, a client wants the target's unit."""

    mean: Tensor
    spread: Tensor

    def __init__(self, targets: Tensor) -> None:
        super().__init__()
        spread, mean = torch.std_mean(targets, dim=0, correction=0)  # (outputs,)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """(rows, outputs) → the same."""
        return values * self.spread + self.mean

    def standardised(self, targets: Tensor) -> Tensor:
        """(rows, outputs) → the same: what the network in front of it learns."""
        return (targets - self.mean) / self.spread


class NoisyInTargetsUnit(InTargetsUnit):
    """The same where the network tells the noise of each row, too."""

    def forward(self, values: Tensor) -> Tensor:
        """(rows, 2·outputs) → the same: the means, and then the standard deviations of their noise."""
        mean, noise = mean_and_noise(values)
        return torch.cat([super().forward(mean), noise * self.spread], dim=1)


def mean_and_noise(values: Tensor) -> tuple[Tensor, Tensor]:
    """What such a network answers (rows, 2·outputs) → means and standard deviations, each (rows, outputs).

    Softplus keeps these above 0 as the exponential of a log variance does, but its slope never exceeds 1, so that
    no row can throw the weights far.
    """
    mean, noise = values.chunk(2, dim=1)
    return mean, softplus(noise) + LEAST_NOISE
