"""Where a graph looks up entries by number, and which numbers it, or the network it was made of, refuses.

ONNX counts negative numbers from a table's end, and OneHot knows of no wrong number. torch is stricter: an
embedding, `gather` and `scatter` refuse what is below 0. Where torch's exporter noted what a node was made
of, that decides. In other files a Gather from rows of weights is an embedding, which no framework asks below 0.
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
"""By operator, which of its inputs has the numbers; the first has the entries."""

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
"""What of torch refuses numbers below 0."""

BY_ELEMENTS = {"GatherElements", "ScatterElements"}
"""What torch's older exporter, which notes nothing, makes of `gather` and `scatter` alone."""
TORCH = "pytorch"
MADE_OF = re.compile(r"torch\.ops\.aten\.(\w+)")


@dataclass(frozen=True)
class Lookup:
    """A node that reads numbers of entries from its input number `operand`.

    `sizes` are the numbers of entries: one for all, or one for each place along the last axis of what is read; None
    where it is not known. `from_end` says whether -1 is the last entry, `made_of` is torch's operator, if known.
    """

    node: NodeProto
    operand: int
    sizes: tuple[int | None, ...]
    from_end: bool
    made_of: str

    @property
    def numbers(self) -> str:
        """The name of the tensor that has the numbers."""
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
    """Return the operator of torch that a node was made of, as torch's exporter notes it; else nothing."""
    notes = (entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.fx_node")
    found = (match[1] for note in notes if (match := MADE_OF.search(note)))
    return next(found, "")


def _is_table(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    """Whether it takes rows of weights."""
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
