"""How much is measured."""

from dataclasses import dataclass

RATES = (0.0, 0.2, 0.5)
"""The p of the networks that are trained for the report."""
WITHOUT, WITH = RATES[0], RATES[-1]
"""The two that are set against each other."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a report; `QUICK` measures little, for tests."""

    seeds: int = 5
    """Networks a p, each with a split, first weights, order of rows and dropout of its own."""
    seed: int = 0
    """The first of them."""
    epochs: int = 30
    """Of every network's training."""
    passes: int = 200
    """Thinned networks in the largest ensemble."""
    steps: int = 64
    """Of training in which every activation is watched."""
    calls: int = 100
    """Of a network that should answer always the same, or never."""
    draws: int = 20
    """Random sets of squashed activations a share."""
    train_rows: int = 2000
    """To learn from, at most; so few that a report takes minutes."""
    rows: int = 1000
    """Test rows at most."""
    units: int = 512
    """Of a site that are removed one by one, at most."""
    sizes: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Rows to learn from, where data is to be small; at most those that there are."""
    small_epochs: int = 100
    small_seeds: int = 8
    """It varies more with the rows that happen to be there, and takes no time."""


OF_CONVOLUTIONS = {
    "seeds": 3,
    "epochs": 10,
    "rows": 500,
    "draws": 5,
    "units": 64,
    "sizes": (50, 100, 200, 400),
    "small_epochs": 60,
    "small_seeds": 5,
}
"""What is measured less of a convolutional network, of which a step takes many times as long."""

QUICK = Settings(
    seeds=2,
    epochs=3,
    passes=16,
    steps=12,
    calls=5,
    draws=3,
    rows=120,
    units=12,
    sizes=(40, 80),
    small_epochs=6,
    small_seeds=2,
)
