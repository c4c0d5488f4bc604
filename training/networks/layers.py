"""Layers with what training rows were like in them: raw values in, the target's own unit out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

LEAST_NOISE = 1e-3
"""Of learned noise, in standard deviations of the target: of rows that are learned by heart the logarithm would have
no bottom.
"""
ROUNDING = 1e-14
"""Of float64, as a share of a number's size: some fifty units in the last place."""
CHUNK = 2**22
"""Values that are converted to float64 at once."""


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of features (rows, features), or of channels (rows, channels, height, width).

    Both are float64 and shaped like a row whose other axes are 1. Deviations are taken from the middle of the range, in
    units of half of it: so numbers of any size have them, however close together they are. A feature has a deviation
    of 0 where it does not vary, or by no more than float64 rounds numbers of its size.
    """
    over = (0, 2, 3) if rows.ndim == 4 else (0,)
    low, high = (bound(rows, dim=over, keepdim=True).double() for bound in (torch.amin, torch.amax))
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    unit = torch.where(half > 0, half, 1.0)
    sums, squares = torch.zeros_like(middle), torch.zeros_like(middle)
    for chunk in torch.split(rows, max(1, CHUNK // rows[0].numel())):
        deviations = (chunk.double() - middle) / unit
        sums += deviations.sum(over, keepdim=True)
        squares += deviations.square().sum(over, keepdim=True)
    count = rows.numel() / middle.numel()
    mean, spread = middle + sums / count * half, (squares / count - (sums / count).square()).clamp(min=0).sqrt() * half
    varies = spread > ROUNDING * torch.maximum(low.abs(), high.abs())
    return torch.where(half > 0, mean, low)[0], torch.where(varies, spread, 0.0)[0]


class Impute(nn.Module):
    """Put each feature's median where it has no value, NaN, and of a category the most frequent one.

    Both are taken from the rows it is made with, which must be training rows that hold each feature at least once.
    Categories are given by their places among the features.
    """

    values: Tensor

    def __init__(self, rows: Tensor, categories: Sequence[int] = ()) -> None:
        super().__init__()
        values = torch.from_numpy(np.nanmedian(rows.numpy(), axis=0))
        for place in categories:
            found, counts = np.unique(rows[:, place].numpy(), return_counts=True, equal_nan=True)
            values[place] = found[np.where(np.isnan(found), 0, counts).argmax()].item()
        self.register_buffer("values", values.to(rows.dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, features) → the same."""
        return torch.where(rows.isnan(), self.values, rows)


class Standardise(nn.Module):
    """Centre each feature and divide it by its spread, so that a client sends values as they are measured.

    Both are taken from the rows it is made with, which must be training rows; of images from each channel. A feature
    that does not vary is centred only. Features in one unit are divided by their common spread: their own would make
    a pixel that is hardly ever inked louder than all others. Categories, given by their places among the features,
    stay the numbers that they are.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor, *, one_unit: bool = False, categories: Sequence[int] = ()) -> None:
        super().__init__()
        mean, spread = moments(rows)
        if one_unit and rows.ndim == 2:
            spread = spread.square().mean().sqrt().expand_as(spread)
        places = torch.tensor(categories, dtype=torch.int64)
        self.register_buffer("mean", mean.index_fill(0, places, 0.0))
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0).index_fill(0, places, 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, …) → the same, float32; computed in float64, so that nothing but the result is rounded to it."""
        return ((rows.double() - self.mean) / self.spread).float()


class OneHot(nn.Module):
    """Spread each category over as many columns as it has values: 1 at its own, 0 elsewhere. Numbers go before them.

    `sizes` tells for each feature how many categories it has, 0 for a number. A row's category is the number
    of its value; a number that is none gives zeros at all of them.
    """

    numbers: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        numbers = [place for place, size in enumerate(sizes) if not size]
        pairs = [(place, float(value)) for place, size in enumerate(sizes) for value in range(size)]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64))
        self.register_buffer("columns", torch.tensor([place for place, _ in pairs], dtype=torch.int64))
        self.register_buffer("values", torch.tensor([value for _, value in pairs]))

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, features) → (rows, numbers and then categories)."""
        encoded = (rows.index_select(1, self.columns) == self.values).to(rows.dtype)
        if not len(self.numbers):
            return encoded
        return torch.cat([rows.index_select(1, self.numbers), encoded], dim=1)


class InTargetsUnit(nn.Module):
    """The last layer of a regression: its network answers in standard deviations, a client wants the target's unit."""

    mean: Tensor
    spread: Tensor

    def __init__(self, targets: Tensor) -> None:
        super().__init__()
        mean, spread = moments(targets)  # (outputs,)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """(rows, outputs) → the same, float32; computed in float64."""
        return (values.double() * self.spread + self.mean).float()

    def standardised(self, targets: Tensor) -> Tensor:
        """(rows, outputs) → the same, float32: what the network in front of it learns."""
        return ((targets.double() - self.mean) / self.spread).float()


class NoisyInTargetsUnit(InTargetsUnit):
    """The same where the network tells the noise of each row, too."""

    def forward(self, values: Tensor) -> Tensor:
        """(rows, 2·outputs) → the same: the means, and then the standard deviations of their noise."""
        mean, noise = mean_and_noise(values)
        return torch.cat([super().forward(mean), (noise.double() * self.spread).float()], dim=1)


def mean_and_noise(values: Tensor) -> tuple[Tensor, Tensor]:
    """What such a network answers (rows, 2·outputs) → means and standard deviations, each (rows, outputs).

    Softplus keeps these above 0 as the exponential of a log variance does, but its slope never exceeds 1, so that
    no row can throw the weights far.
    """
    mean, noise = values.chunk(2, dim=1)
    return mean, softplus(noise) + LEAST_NOISE
