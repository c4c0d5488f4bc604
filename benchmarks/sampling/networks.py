"""The networks as plain data; contenders build them in their own library."""

from typing import Any, NamedTuple

DROPOUT = ("dropout", 0.5)
RELU = ("relu",)
LARGE = 2048
"""The size of a square matrix that is multiplied at the machine's full speed."""


class Network(NamedTuple):
    """Layers in sequence, each its kind and sizes; tensors are (rows, channels, height, width) or (rows, units).

    Weights have torch's names: "0.weight" (units, inputs) or (channels out, in, height, width), "0.bias".
    """

    inputs: tuple[int, ...]
    layers: tuple[tuple[Any, ...], ...]


def mlp(inputs: int, *widths: int) -> Network:
    """Return ReLU layers, each followed by dropout, and a linear one."""
    layers: list[tuple[Any, ...]] = []
    for width_in, width in zip((inputs, *widths), widths, strict=False):
        layers += [("linear", width_in, width), RELU, DROPOUT]
    return Network((inputs,), tuple(layers[:-2]))


LENET = Network(
    inputs=(1, 28, 28),
    layers=(
        *(("conv", 1, 20, 5), RELU, ("pool", 2)),  # (20, 12, 12)
        *(("conv", 20, 50, 5), RELU, ("pool", 2)),  # (50, 4, 4)
        *(("flatten",), DROPOUT, ("linear", 800, 500), RELU),
        *(DROPOUT, ("linear", 500, 10)),
    ),
)

NETWORKS = {
    "mlp-small": mlp(64, 256, 256, 10),
    "mlp-large": mlp(784, 1024, 1024, 1024, 10),
    "lenet": LENET,
}


def first_dropout(network: Network) -> int:
    """Return the number of the first layer with dropout."""
    return network.layers.index(DROPOUT)


def sampled_sizes(network: Network) -> list[tuple[int, int]]:
    """Return (inputs, units) of the layers that must run once a pass."""
    layers = network.layers[first_dropout(network) :]
    return [(layer[1], layer[2]) for layer in layers if layer[0] == "linear"]
