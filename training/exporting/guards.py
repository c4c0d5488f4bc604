"""Nodes that make a graph refuse values that the network refuses and ONNX does not, or that would end the process.

A range in the manifest refuses values that callers send; these nodes refuse values that a network computes itself:
indices that do not derive from the inputs in a simple way, and divisors of whole numbers that a processor refuses. A
guard is a Gather that fails: from a table with one entry, 0, with index 1 where a value is wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from service.model.runtime import REFUSES
from training.exporting.graphs import constants
from training.exporting.layout import Layout
from training.exporting.lookups import STRICT, Lookup
from training.exporting.origins import WHOLE, Origins

OWN = "guard/"
"""The prefix of added tensors' names."""
DIVIDES = {"Div", "Mod"}
"""Operators that divide."""


def add_guards(graph: GraphProto, lookups: Sequence[Lookup], origins: Origins, layouts: Mapping[str, Layout]) -> None:
    """Add guards to a flat graph, in place."""
    unseen = {lookup.node.output[0]: lookup for lookup in lookups if _is_unseen(lookup, origins)}
    guards = _Guards(graph, layouts)
    for node in list(graph.node):
        if node.output[0] in unseen:
            guards.add_to_lookup(node, unseen[node.output[0]])
        elif node.op_type in DIVIDES and any(origins.depends_on_values(name) for name in node.input):
            guards.add_to_division(node)
        guards.nodes.append(node)
    guards.finish()


def _is_unseen(lookup: Lookup, origins: Origins) -> bool:
    """Return whether no range in the manifest refuses the indices below 0 that torch refuses."""
    return (
        lookup.made_of in STRICT and origins.depends_on_values(lookup.indices) and origins.find(lookup.indices) is None
    )


class _Guards:
    """Add nodes before the nodes that they guard."""

    def __init__(self, graph: GraphProto, layouts: Mapping[str, Layout]) -> None:
        self._graph = graph
        self._known = constants(graph)
        self._types = {name: layout.dtype for name, layout in layouts.items()}
        self._added: dict[str, TensorProto] = {}
        self.nodes: list[NodeProto] = []

    def finish(self) -> None:
        """Put all nodes into the graph."""
        del self._graph.node[:]
        self._graph.node.extend(self.nodes)
        self._graph.initializer.extend(self._added.values())

    def add_to_lookup(self, node: NodeProto, lookup: Lookup) -> None:
        numbers = lookup.indices
        kind = self._types.get(numbers, TensorProto.INT64)
        wrong = self._node("Less", numbers, self._number(0, kind))
        reason = "it looks up an entry of a table by a number below 0"
        node.input[lookup.operand] = self._refuse(numbers, wrong, reason, kind)

    def add_to_division(self, node: NodeProto) -> None:
        kind = self._types.get(node.output[0])
        if kind not in WHOLE or self._is_harmless(node.input[1]):
            return
        least = np.iinfo(helper.tensor_dtype_to_np_dtype(kind)).min
        zero = self._node("Equal", node.input[1], self._number(0, kind))
        one_less = self._node("Equal", node.input[1], self._number(-1, kind))
        too_large = self._node("And", self._node("Equal", node.input[0], self._number(least, kind)), one_less)
        wrong = self._node("Or", zero, too_large)
        reason = "it divides a whole number by 0, or the least there is by -1"
        node.input[1] = self._refuse(node.input[1], wrong, reason, kind)

    def _is_harmless(self, divisor: str) -> bool:
        tensor = self._known.get(divisor)
        return tensor is not None and not np.isin(numpy_helper.to_array(tensor), (0, -1)).any()

    def _refuse(self, values: str, wrong: str, reason: str, kind: int) -> str:
        """Return the name of the same values, of which the graph refuses the wrong ones."""
        number = self._node("Cast", wrong, to=TensorProto.INT64)
        table = self._constant(np.zeros(1, helper.tensor_dtype_to_np_dtype(kind)))
        return self._node(
            "Add", values, self._node("Gather", table, number, name=f"{REFUSES}{reason} #{len(self.nodes)}")
        )

    def _node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = f"{OWN}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name or output, **attributes))
        return output

    def _number(self, value: int, kind: int) -> str:
        return self._constant(np.array(value, helper.tensor_dtype_to_np_dtype(kind)))

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        name = f"{OWN}{value.dtype}/{value.tolist()}"
        self._added.setdefault(name, numpy_helper.from_array(value, name))
        return name
