"""The networks that are trained: raw values in, logits or values out; preprocessing is their first layer."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from training.concrete import ConcreteDropout
from training.data import Dataset

Rate = float | Literal["learned"]
"""Probability of dropping."""
CONV1, CONV2 = 20, 50
LENET_HIDDEN = (500,)
"""Channels and units of LeNet, as Caffe's and as Gal & Ghahramani (2016) use it."""
STAGES = (16, 32, 64)
MIN_LENET_PIXELS = 16
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


def make_preprocessing(data: Dataset, rows: Tensor) -> OrderedDict[str, nn.Module]:
    """The first layers: of images (rows, channels, height, width), of tables (rows, width). `rows`: training rows."""
    if rows.ndim == 4:
        return OrderedDict(standardise=StandardiseChannels(rows))
    if data.categories:
        sizes = [len(data.categories.get(feature, ())) for feature in data.features]
        return OrderedDict(encode=Encode(rows, sizes))
    return OrderedDict(standardise=Standardise(rows, one_unit=data.one_unit))


def make_mlp(
    preprocessing: OrderedDict[str, nn.Module],
    width: int,
    hidden: Sequence[int],
    outputs: int,
    p: Rate,
    input_p: float,
) -> nn.Sequential:
    """`width` preprocessed values through hidden layers of ReLU units, each followed by dropout, to (rows, outputs).

    Where the probability of dropping is 0 there is no dropout layer, hence no mask to feed. Where it is learned, each
    layer learns its own.
    """
    layers = {
        **preprocessing,
        **_dropout("input_dropout", input_p, width),
        **_fully_connected(width, hidden, outputs, p),
    }
    return nn.Sequential(OrderedDict(layers))


def make_lenet(
    preprocessing: OrderedDict[str, nn.Module],
    image: Sequence[int],
    hidden: Sequence[int],
    outputs: int,
    p: Rate,
    input_p: Rate,
) -> nn.Sequential:
    """LeNet (LeCun et al. 1998) with ReLU and dropout before its fully connected layers.

    `image`: channels, height and width, both at least 16 pixels; `hidden`: units of the fully connected layers.
    """
    height, width = (((size - 4) // 2 - 4) // 2 for size in image[1:])
    layers: dict[str, nn.Module] = {
        **preprocessing,
        **_dropout("input_dropout", input_p, math.prod(image)),
        "conv_1": nn.Conv2d(image[0], CONV1, 5),
        "conv_relu_1": nn.ReLU(),
        "pool_1": nn.MaxPool2d(2),
        "conv_2": nn.Conv2d(CONV1, CONV2, 5),
        "conv_relu_2": nn.ReLU(),
        "pool_2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        **_dropout("conv_dropout", p, CONV2 * height * width),
        **_fully_connected(CONV2 * height * width, hidden, outputs, p),
    }
    return nn.Sequential(OrderedDict(layers))


class Residual(nn.Module):
    """A basic block (He et al. 2016) that halves height and width where `stride` is 2."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = nn.Conv2d(channels, outputs, 1, stride, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, channels, height, width) → (rows, outputs, height/stride, width/stride)."""
        return torch.relu(self.main(rows) + self.skip(rows))


def make_resnet(
    preprocessing: OrderedDict[str, nn.Module], channels: int, outputs: int, p: Rate, input_p: float
) -> nn.Sequential:
    """Three residual blocks; behind each, channels are dropped with p/2, and units with p at the end."""
    layers: dict[str, nn.Module] = {**preprocessing, **_dropout("input_dropout", input_p, channels)}
    of_channels: Rate = "learned" if p == "learned" else p / 2
    for number, (width, stride) in enumerate(zip(STAGES, (1, 2, 2), strict=True), start=1):
        layers[f"block_{number}"] = Residual(channels, width, stride)
        layers |= _dropout(f"channel_dropout_{number}", of_channels, width, nn.Dropout2d)
        channels = width
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), **_dropout("dropout", p, channels)}
    return nn.Sequential(OrderedDict(layers, output=nn.Linear(channels, outputs)))


def in_targets_unit(network: nn.Module, last: InTargetsUnit) -> nn.Sequential:
    """The network with that as its last layer."""
    layers = network.named_children() if type(network) is nn.Sequential else (("network", network),)
    return nn.Sequential(OrderedDict([*layers, ("in_targets_unit", last)]))


def _fully_connected(width: int, hidden: Sequence[int], outputs: int, p: Rate) -> dict[str, nn.Module]:
    """From `width` values to `outputs`."""
    layers: dict[str, nn.Module] = {}
    for number, units in enumerate(hidden, start=1):
        layers |= {f"hidden_{number}": nn.Linear(width, units), f"relu_{number}": nn.ReLU()}
        layers |= _dropout(f"dropout_{number}", p, units)
        width = units
    return layers | {"output": nn.Linear(width, outputs)}


def _dropout(
    name: str, p: Rate, units: int, kind: type[nn.Dropout] | type[nn.Dropout2d] = nn.Dropout
) -> dict[str, nn.Module]:
    if p == "learned":
        return {name: ConcreteDropout(units, kind)}
    return {name: kind(p)} if p > 0 else {}
