"""What the training rows held, for those who want to ask the network of rows like them."""

import numpy as np

from service.model.manifest import Seen
from training.data import Floats

MOST_PLACES = 1000
"""A manifest stays short."""


def what_was_seen(inputs: Floats, *, one_unit: bool) -> tuple[Seen, ...]:
    """Inputs (rows, …) → the lowest, median and highest of each value of a row, or of all where the unit is one.

    Nothing where that would be told of very many.
    """
    places = inputs.reshape(1, -1) if one_unit else inputs.reshape(len(inputs), -1).T  # (places, values)
    if len(places) > MOST_PLACES:
        return ()
    found = zip(np.nanmin(places, axis=1), np.nanmedian(places, axis=1), np.nanmax(places, axis=1), strict=True)
    return tuple(Seen(lowest=_plain(low), median=_plain(median), highest=_plain(high)) for low, median, high in found)


def _plain(value: np.floating) -> float:
    """With as few digits as tell its type's numbers apart."""
    return float(str(value))
