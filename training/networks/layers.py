"""Layers that hold statistics of the training rows: raw values in, the target's own unit out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

LEAST_NOISE = 1e-3
"""The smallest learned noise, in standard deviations of the target: the log density of rows learned by heart would have
no bound.
"""
ROUNDING = 1e-14
"""Rounding of float64 as a share of a number: about fifty units in the last place."""
CHUNK = 2**22
"""The number of values that are converted to float64 at once."""


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of features (rows, features), or of channels (rows, channels, height, width).

    Both are float64 and shaped like a row whose other axes are 1. Deviations are taken from the middle of the range, in
    units of half of it, so that they are exact for numbers of any size, however close together. The deviation of a
    feature is 0 where it does not vary, or varies by no more than the rounding of float64.
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
    """Replace missing values, NaN, by each feature's median, and for a category by the most frequent one.

    Both are those of training rows that hold each feature at least once.
    """

    values: Tensor

    def __init__(self, rows: Tensor, categories: Sequence[int] = ()) -> None:
        """Take the values from `rows` (rows, features); `categories` are the places of categorical features."""
        super().__init__()
        values = torch.from_numpy(np.nanmedian(rows.numpy(), axis=0))
        for place in categories:
            found, counts = np.unique(rows[:, place].numpy(), return_counts=True, equal_nan=True)
            values[place] = found[np.where(np.isnan(found), 0, counts).argmax()].item()
        self.register_buffer("values", values.to(rows.dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows (rows, features) without missing values."""
        return torch.where(rows.isnan(), self.values, rows)


class Standardise(nn.Module):
    """Centre each feature and divide it by its spread, so that callers send values as measured.

    Both are those of training rows, for images of each channel. A feature that does not vary is centred only. Features
    in one unit are divided by their common spread: their own would amplify a pixel that is nearly always blank.
    Categories keep their numbers.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor, *, one_unit: bool = False, categories: Sequence[int] = ()) -> None:
        """Take mean and spread from `rows` (rows, …); `categories` are the places of categorical features."""
        super().__init__()
        mean, spread = moments(rows)
        if one_unit and rows.ndim == 2:
            spread = spread.square().mean().sqrt().expand_as(spread)
        places = torch.tensor(categories, dtype=torch.int64)
        self.register_buffer("mean", mean.index_fill(0, places, 0.0))
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0).index_fill(0, places, 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (rows, …) standardised, float32; computed in float64, so that only the result is rounded."""
        return ((rows.double() - self.mean) / self.spread).float()


class OneHot(nn.Module):
    """Expand each category to as many columns as it has values: 1 at its own, 0 elsewhere. Numbers precede them.

    A row's category is the number of its value; a number that is not one gives zeros in all its columns.
    """

    numbers: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        """Take the number of categories of each feature, 0 for a number."""
        super().__init__()
        numbers = [place for place, size in enumerate(sizes) if not size]
        pairs = [(place, float(value)) for place, size in enumerate(sizes) for value in range(size)]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64))
        self.register_buffer("columns", torch.tensor([place for place, _ in pairs], dtype=torch.int64))
        self.register_buffer("values", torch.tensor([value for _, value in pairs]))

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (rows, features) as (rows, numbers and then categories)."""
        encoded = (rows.index_select(1, self.columns) == self.values).to(rows.dtype)
        if not len(self.numbers):
            return encoded
        return torch.cat([rows.index_select(1, self.numbers), encoded], dim=1)


class InTargetsUnit(nn.Module):
    """The last layer of a regression: from standard deviations to the target's own unit."""

    mean: Tensor
    spread: Tensor

    def __init__(self, targets: Tensor) -> None:
        """Take mean and spread from targets (rows, outputs)."""
        super().__init__()
        mean, spread = moments(targets)  # (outputs,)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Return values (rows, outputs) in the target's unit, float32; computed in float64."""
        return (values.double() * self.spread + self.mean).float()

    def standardised(self, targets: Tensor) -> Tensor:
        """Return targets (rows, outputs) standardised, float32, as the network learns them."""
        return ((targets.double() - self.mean) / self.spread).float()


class NoisyInTargetsUnit(InTargetsUnit):
    """The last layer of a regression whose network predicts the noise of each row, too."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values (rows, 2·outputs) in the target's unit: the means, then the standard deviations of
        their noise.
        """
        mean, noise = mean_and_noise(values)
        return torch.cat([super().forward(mean), (noise.double() * self.spread).float()], dim=1)


def mean_and_noise(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations, each (rows, outputs), of such a network's answers (rows, 2·outputs).

    Softplus keeps deviations above 0 as the exponential of a log variance does, but its slope never exceeds 1, so that
    no row can cause a large step.
    """
    mean, noise = values.chunk(2, dim=1)
    return mean, softplus(noise) + LEAST_NOISE
