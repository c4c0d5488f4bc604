"""The whole numbers that a network takes in each place of a row, as its lookups tell."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import TensorSpec, WholeNumbers
from training.exporting.lookups import Lookup
from training.exporting.trail import Followed, Trail

Ends = NDArray[np.float64]


def with_ranges(specs: Sequence[TensorSpec], lookups: Sequence[Lookup], trail: Trail) -> tuple[TensorSpec, ...]:
    """Return the specs of a graph's inputs with the whole numbers that its lookups take."""
    lowest, highest = np.full(trail.size, -np.inf), np.full(trail.size, np.inf)
    for lookup in lookups:
        if (followed := trail.follow(lookup.numbers)) is not None:
            _narrow(lowest, highest, lookup, followed)
    return tuple(
        TensorSpec(name=spec.name, dtype=spec.dtype, shape=spec.shape, ranges=_entries(lowest[here], highest[here]))
        for spec, here in zip(specs, trail.slices, strict=True)
    )


def _narrow(lowest: Ends, highest: Ends, lookup: Lookup, followed: Followed) -> None:
    """Exclude, in place, the values for which a lookup's numbers are out of its table."""
    places, scale, offset = followed
    sizes = np.broadcast_to([np.nan if size is None else size for size in lookup.sizes], scale.shape)
    used = (scale != 0) & ~np.isnan(sizes)
    places, scale, offset, sizes = places[used], scale[used], offset[used], sizes[used]
    ends = ((np.where(lookup.from_end, -sizes, 0) - offset) / scale, (sizes - 1 - offset) / scale)
    np.maximum.at(lowest, places, np.ceil(np.minimum(*ends)))
    np.minimum.at(highest, places, np.floor(np.maximum(*ends)))


def _entries(lowest: Ends, highest: Ends) -> tuple[WholeNumbers, ...]:
    """Return one entry for all values where they agree, none where there is no limit."""
    entries = [
        WholeNumbers(lowest=_whole(low), highest=_whole(high)) for low, high in zip(lowest, highest, strict=True)
    ]
    if all(entry == WholeNumbers() for entry in entries):
        return ()
    return (entries[0],) if all(entry == entries[0] for entry in entries) else tuple(entries)


def _whole(end: float) -> int | None:
    return int(end) if np.isfinite(end) else None
