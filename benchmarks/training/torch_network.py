"""The networks in torch."""

from torch import nn

from benchmarks.training.networks import CLASSES, DROPOUT, Network


def build(network: Network) -> nn.Sequential:
    """Return the untrained network."""
    if network.name == "lenet":
        return nn.Sequential(
            *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(800, 500), nn.ReLU(), nn.Dropout(DROPOUT)),
            nn.Linear(500, CLASSES),
        )
    layers: list[nn.Module] = []
    width = network.inputs[0]
    for units in network.hidden:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(DROPOUT)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))
