"""Make a graph refuse what its network refuses: by ranges of its inputs, and by guards beside them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from service.model.manifest import TensorSpec, WholeNumbers
from training.exporting.guards import add_guards
from training.exporting.layout import find_layouts
from training.exporting.lookups import Lookup, find_lookups
from training.exporting.origins import Origin, Origins

Ends = NDArray[np.float64]
"""Ends of the range of each value of a row."""


def add_refusals(model: ModelProto, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Add guards to a flat graph in place, and return the specs of its inputs with ranges.

    The first axis of the inputs must be that of the rows, and free.
    """
    layouts = find_layouts(model)
    lookups = list(find_lookups(model, layouts))
    origins = Origins(model, specs, layouts)
    ranged = with_ranges(specs, lookups, origins)
    add_guards(model.graph, lookups, origins, layouts)
    return ranged


def with_ranges(specs: Sequence[TensorSpec], lookups: Sequence[Lookup], origins: Origins) -> tuple[TensorSpec, ...]:
    """Return the specs of a graph's inputs with the ranges of whole numbers that its lookups accept."""
    lowest, highest = np.full(origins.size, -np.inf), np.full(origins.size, np.inf)
    for lookup in lookups:
        if (origin := origins.find(lookup.indices)) is not None:
            _narrow(lowest, highest, lookup, origin)
    return tuple(
        TensorSpec(name=spec.name, dtype=spec.dtype, shape=spec.shape, ranges=_entries(lowest[here], highest[here]))
        for spec, here in zip(specs, origins.slices, strict=True)
    )


def _narrow(lowest: Ends, highest: Ends, lookup: Lookup, origin: Origin) -> None:
    """Exclude, in place, the values for which a lookup's indices are out of its table."""
    places, scale, offset = origin
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
