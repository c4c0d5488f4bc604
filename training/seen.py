"""What the training rows held, for those who want to ask the network of rows like them."""

import numpy as np

from service.manifest import Seen
from training.data import Float32


def what_was_seen(inputs: Float32, *, one_unit: bool) -> tuple[Seen, ...]:
    """Inputs (rows, …) → the lowest, median and highest of each value of a row, or of all where the unit is one."""
    places = inputs.reshape(1, -1) if one_unit else inputs.reshape(len(inputs), -1).T  # (places, values)
    low, middle, high = places.min(axis=1), np.median(places, axis=1), places.max(axis=1)
    rows = zip(low.tolist(), middle.tolist(), high.tolist(), strict=True)
    return tuple(Seen(lowest=lowest, median=median, highest=highest) for lowest, median, highest in rows)
