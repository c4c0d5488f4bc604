"""The built-in networks: standardised values in, logits or standardised values out."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from training.data import Dataset
from training.networks.concrete import ConcreteDropout
from training.networks.layers import OneHot

Rate = float | Literal["learned"]
"""Probability of dropout."""
CONV1, CONV2 = 20, 50
LENET_HIDDEN = (500,)
"""Channels and units of LeNet, as in Caffe and Gal & Ghahramani (2016)."""
STAGES = (16, 32, 64)
"""Channels of the residual blocks."""
MIN_LENET_PIXELS = 16
"""The smallest side of LeNet's images."""


def make_encoding(data: Dataset) -> OrderedDict[str, nn.Module]:
    """Return the layers between standardisation and the network: the encoding of categories, where there are any."""
    if not data.categories:
        return OrderedDict()
    return OrderedDict(encode=OneHot([len(data.categories.get(feature, ())) for feature in data.features]))


def make_mlp(
    first: OrderedDict[str, nn.Module],
    width: int,
    hidden: Sequence[int],
    outputs: int,
    p: Rate,
    input_p: float,
) -> nn.Sequential:
    """Return hidden layers of ReLU units with dropout, from `width` values behind the first layers to (rows, outputs).

    A probability of 0 makes no dropout layer, hence no mask to feed. If it is learned, each layer learns its own.
    """
    layers = {
        **first,
        **_dropout("input_dropout", input_p, width),
        **_fully_connected(width, hidden, outputs, p),
    }
    return nn.Sequential(OrderedDict(layers))


def make_lenet(
    first: OrderedDict[str, nn.Module],
    image: Sequence[int],
    hidden: Sequence[int],
    outputs: int,
    p: Rate,
    input_p: Rate,
) -> nn.Sequential:
    """Return LeNet (LeCun et al. 1998) with ReLU and dropout before its fully connected layers.

    `image` is channels, height and width, both at least 16 pixels; `hidden` the units of the fully connected layers.
    """
    height, width = (((size - 4) // 2 - 4) // 2 for size in image[1:])
    layers: dict[str, nn.Module] = {
        **first,
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
        """Make a block from `channels` to `outputs` channels."""
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
        """Return rows (rows, channels, height, width) as (rows, outputs, height/stride, width/stride)."""
        return torch.relu(self.main(rows) + self.skip(rows))


def make_resnet(
    first: OrderedDict[str, nn.Module], channels: int, outputs: int, p: Rate, input_p: float
) -> nn.Sequential:
    """Return three residual blocks; behind each, channels are dropped with p/2, and units with p at the end."""
    layers: dict[str, nn.Module] = {**first, **_dropout("input_dropout", input_p, channels)}
    of_channels: Rate = "learned" if p == "learned" else p / 2
    for number, (width, stride) in enumerate(zip(STAGES, (1, 2, 2), strict=True), start=1):
        layers[f"block_{number}"] = Residual(channels, width, stride)
        layers |= _dropout(f"channel_dropout_{number}", of_channels, width, nn.Dropout2d)
        channels = width
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), **_dropout("dropout", p, channels)}
    return nn.Sequential(OrderedDict(layers, output=nn.Linear(channels, outputs)))


def _fully_connected(width: int, hidden: Sequence[int], outputs: int, p: Rate) -> dict[str, nn.Module]:
    """Return the layers from `width` values to `outputs`."""
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
