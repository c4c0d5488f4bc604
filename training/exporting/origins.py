"""Find the input values that the indices of a lookup are computed from.

On the way there may be nodes that move values (Reshape, Slice, Concat …) or add and multiply constants; the effect of
that part of the graph is then found by running it on three rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from service.errors import DropserveError
from service.model.manifest import TensorSpec
from service.model.runtime import Array, Graph
from training.exporting.folding import Needs, needs_of
from training.exporting.graphs import NEWEST_IR, producers
from training.exporting.layout import Layout

MOVES = {
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}
"""Operators that move values."""
AFFINE = {"Add", "Mul", "Neg", "Sub"}
"""Operators whose effect is affine where one operand is constant."""
WHOLE = {TensorProto.INT32, TensorProto.INT64}
"""Types of whole numbers."""
NUMBERS = WHOLE | {TensorProto.FLOAT, TensorProto.DOUBLE}
"""Types between which a Cast keeps whole numbers."""
OUTPUT = "ranges/numbers"
"""The name of the part's output."""


class Origin(NamedTuple):
    """The indices of a lookup for one row: input value · scale + offset; all arrays are of their shape."""

    places: NDArray[np.int64]
    """The place of each input value, counted through all inputs."""
    scale: NDArray[np.int64]
    offset: NDArray[np.int64]


class Origins:
    """The origins of tensors of a flat graph among the values of its inputs."""

    def __init__(self, model: ModelProto, specs: Sequence[TensorSpec], layouts: Mapping[str, Layout]) -> None:
        """Prepare the search in `model`, whose inputs are `specs`."""
        self._model = model
        self._specs = specs
        self._made = producers(model.graph)
        self._needs = needs_of(model.graph)
        self._types = {name: layout.dtype for name, layout in layouts.items()}
        ends = accumulate((prod(spec.shape) for spec in specs), initial=0)
        self.slices = [slice(start, stop) for start, stop in pairwise(ends)]
        self.size = sum(prod(spec.shape) for spec in specs)
        """The number of values of a row."""

    def depends_on_values(self, name: str) -> bool:
        """Return whether a tensor depends on the values of the inputs, beside constants and shapes."""
        return self._needs[name] is Needs.VALUES

    def find(self, name: str) -> Origin | None:
        """Return the origin of a tensor; None where it is not a simple function of the inputs' values."""
        if not (self.depends_on_values(name) and self._is_simple(name)):
            return None
        part = self._part(name)
        try:
            graph = Graph(part.SerializeToString(), name="a part of the graph", optimise=False)
            of_zeros, of_ones, of_places = (graph.run(row) for row in self._rows(part))
        except DropserveError:
            return None  # such as a graph that cannot run on a single row
        scale = of_ones - of_zeros
        places = (of_places - of_zeros) // np.where(scale == 0, 1, scale)
        return Origin(places, scale, of_zeros)

    def _is_simple(self, name: str) -> bool:
        """Return whether values are only moved, multiplied by and added to constants."""
        node = self._made.get(name)
        if node is None or not self.depends_on_values(name):
            return True
        read = [each for each in node.input if each and self.depends_on_values(each)]
        return self._keeps_whole(node, read) and all(self._is_simple(each) for each in read)

    def _keeps_whole(self, node: NodeProto, read: Sequence[str]) -> bool:
        kinds = {self._types.get(name) for name in (*read, *node.output[:1])}
        if node.op_type in AFFINE:
            return len(read) == 1 and kinds <= WHOLE  # for other types the decimals matter
        if node.op_type == "Cast":
            return kinds <= NUMBERS
        return node.op_type in MOVES and (node.op_type == "Concat" or read == node.input[:1])

    def _part(self, name: str) -> ModelProto:
        """Return the part of the graph that makes a tensor."""
        graph = self._model.graph
        needed = set(self._ancestors(name))
        nodes = [node for node in graph.node if needed.intersection(node.output)]
        nodes.append(helper.make_node("Cast", [name], [OUTPUT], to=TensorProto.INT64))
        made = helper.make_graph(
            nodes,
            "part",
            [value for value in graph.input if value.name in needed],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.INT64, None)],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        )
        return helper.make_model(made, opset_imports=self._model.opset_import, ir_version=NEWEST_IR)

    def _ancestors(self, name: str) -> Iterator[str]:
        waiting = [name]
        while waiting:
            yield (name := waiting.pop())
            waiting.extend(each for each in getattr(self._made.get(name), "input", ()) if each)

    def _rows(self, part: ModelProto) -> Iterator[dict[str, Array]]:
        """Yield a row of zeros, one of ones, and one whose values are their places."""
        used = {value.name for value in part.graph.input}
        for values in (np.zeros(self.size), np.ones(self.size), np.arange(self.size)):
            rows = zip(self._specs, self.slices, strict=True)
            yield {
                spec.name: values[here].reshape(1, *spec.shape).astype(spec.dtype)
                for spec, here in rows
                if spec.name in used
            }
