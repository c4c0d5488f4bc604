"""The extent of the measurements."""

from dataclasses import dataclass

RATES = (0.0, 0.2, 0.5)
"""The p of the networks that are trained for the report."""
WITHOUT, WITH = RATES[0], RATES[-1]
"""The two p that are compared."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The extent of a report; `QUICK` measures little, for tests."""

    seeds: int = 5
    """Networks a p, each with a split, first weights, order of rows and dropout of its own."""
    seed: int = 0
    """The first seed."""
    epochs: int = 30
    """Epochs of every network."""
    passes: int = 200
    """Samples in the largest ensemble."""
    steps: int = 64
    """Training steps in which every activation is recorded."""
    calls: int = 100
    """Calls of a network whose answers should be all equal, or all different."""
    draws: int = 20
    """Random sets of squashed activations a share."""
    train_rows: int = 2000
    """The largest number of training rows, so that a report takes minutes."""
    rows: int = 1000
    """The largest number of test rows."""
    units: int = 512
    """The largest number of units of a site that are removed one by one."""
    sizes: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Numbers of training rows of small data, as far as there are so many."""
    small_epochs: int = 100
    """Epochs on small data."""
    small_seeds: int = 8
    """Networks on small data, which vary more with their rows and train quickly."""


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
"""The smaller extent for a convolutional network, whose steps take many times as long."""

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
"""The extent of a trial."""
