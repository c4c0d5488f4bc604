"""What a network refuses, its graph is made to refuse: by ranges of its inputs, and by guards beside them."""

from collections.abc import Sequence

from onnx import ModelProto

from service.model.manifest import TensorSpec
from training.exporting.guards import add_guards
from training.exporting.layout import find_layouts
from training.exporting.lookups import find_lookups
from training.exporting.ranges import with_ranges
from training.exporting.trail import Trail


def add_refusals(model: ModelProto, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Add guards to a flat graph in place, and return the specs of its inputs with ranges.

    The first axis of the inputs must be that of the rows, and free.
    """
    layouts = find_layouts(model)
    lookups = list(find_lookups(model, layouts))
    trail = Trail(model, specs, layouts)
    ranged = with_ranges(specs, lookups, trail)
    add_guards(model.graph, lookups, trail, layouts)
    return ranged
