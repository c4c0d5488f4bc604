"""Find the lookups of a graph by index, and the indices that they, or the original network, refuse.

ONNX counts negative indices from a table's end, and OneHot accepts any index. torch is stricter: an embedding, `gather`
and `scatter` refuse an index below 0. The original operator decides where torch's exporter recorded it. In other files
a Gather from rows of weights is an embedding, which no framework calls with a negative index.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from training.exporting.graphs import constants
from training.exporting.layout import Layout

OPERAND = {
    "Gather": 1,
    "GatherElements": 1,
    "GatherND": 1,
    "ScatterElements": 1,
    "ScatterND": 1,
}
"""The position of the indices among an operator's inputs; the first input has the entries."""

STRICT = {
    "embedding",
    "gather",
    "index_add",
    "index_copy",
    "index_select",
    "scatter",
    "scatter_add",
    "scatter_reduce",
}
"""Operators of torch that refuse indices below 0."""

BY_ELEMENTS = {"GatherElements", "ScatterElements"}
"""Operators that torch's older exporter, which records nothing, uses only for `gather` and `scatter`."""
TORCH = "pytorch"
"""torch's name as producer of a file."""
MADE_OF = re.compile(r"torch\.ops\.aten\.(\w+)")
"""The original operator in the record of torch's exporter."""


@dataclass(frozen=True)
class Lookup:
    """A node that reads indices from its input number `operand`.

    `sizes` are the numbers of entries: one for all, or one for each place along the last axis of the indices; None for
    an unknown one. `from_end` states whether -1 is the last entry, `made_of` is torch's operator, if known.
    """

    node: NodeProto
    operand: int
    sizes: tuple[int | None, ...]
    from_end: bool
    made_of: str

    @property
    def indices(self) -> str:
        """The name of the tensor that has the indices."""
        return self.node.input[self.operand]


def find_lookups(model: ModelProto, layouts: Mapping[str, Layout]) -> Iterator[Lookup]:
    """Yield the lookups of a flat graph."""
    known = constants(model.graph)
    by_torch = model.producer_name == TORCH
    for node in model.graph.node:
        made_of = _made_of(node)
        if node.op_type == "OneHot":
            yield Lookup(node, 0, (_depth(node, known),), from_end=False, made_of=made_of)
        elif node.op_type in OPERAND:
            strict = (
                made_of in STRICT if made_of else _is_table(node, known) or (by_torch and node.op_type in BY_ELEMENTS)
            )
            yield Lookup(node, OPERAND[node.op_type], _sizes(node, layouts), from_end=not strict, made_of=made_of)


def _made_of(node: NodeProto) -> str:
    """Return the operator of torch that a node was made of, as torch's exporter records it; else ""."""
    notes = (entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.fx_node")
    found = (match[1] for note in notes if (match := MADE_OF.search(note)))
    return next(found, "")


def _is_table(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    """Return whether the node reads rows of weights."""
    if node.op_type != "Gather":
        return False
    return node.input[0] in known and len(known[node.input[0]].dims) > 1 and _attribute(node, "axis", 0) == 0


def _depth(node: NodeProto, known: Mapping[str, TensorProto]) -> int | None:
    """Return the number of classes of OneHot, where it is constant."""
    return int(numpy_helper.to_array(known[node.input[1]]).item()) if node.input[1] in known else None


def _sizes(node: NodeProto, layouts: Mapping[str, Layout]) -> tuple[int | None, ...]:
    table, numbers = layouts.get(node.input[0]), layouts.get(node.input[1])
    if table is None:
        return (None,)
    free: list[int | None] = [None if axis == table.axis else size for axis, size in enumerate(table.dims)]
    if not node.op_type.endswith("ND"):
        return (free[_attribute(node, "axis", 0)],)
    if numbers is None or numbers.axis == len(numbers.dims) - 1:
        return (None,)
    first = _attribute(node, "batch_dims", 0)
    return tuple(free[first : first + numbers.dims[-1]])


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)
