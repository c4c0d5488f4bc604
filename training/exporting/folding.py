"""Run the part of a graph behind masks on a batch of passes x rows, and the rest once per row.

    input (rows, …) ─ … ─ x (rows, *dims) ─ ·mask_0 (passes, 1, *dims) ─ (passes·rows, *dims) ─ … ─ output

Behind a site the graph is unchanged, on a batch that is passes times as long, pass by pass, so that a matrix product of
all passes is one product. At the next site the batch is unfolded, multiplied by the masks and folded again. A tensor
that does not depend on masks, such as a skip connection, is repeated.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from service.engine.network import MASK
from training.errors import CannotExport
from training.exporting.graphs import ROWS, describe, producers
from training.exporting.layout import Layout, find_layouts
from training.exporting.sites import Site

PASSES = "passes"
"""The name of the axis of passes."""
OWN = "fold/"
"""The prefix of added tensors' names."""


class Needs(IntEnum):
    """The dependence of a tensor: on nothing, on the shape of the inputs, or on their values."""

    NOTHING = 0
    SHAPES = 1
    VALUES = 2


class Folding:
    """Rewrite a graph in place, node by node, in order of execution.

    `masked` are the tensors that depend on masks; `folded` maps any other that is combined with them to its counterpart
    with passes x rows in place of its rows.
    """

    def __init__(self, model: ModelProto, sites: Sequence[Site]) -> None:
        """Prepare the rewriting of `model`, whose `sites` are marked."""
        self.graph = model.graph
        self.sites = {site.output: (i, site) for i, site in enumerate(sites)}
        self.layouts = find_layouts(model)
        self.made = producers(self.graph)
        self.needs = needs_of(self.graph)
        self.counting = _counting(self.graph, self.layouts)
        self.masked: set[str] = set()
        self.folded: dict[str, str] = {}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.joined: dict[tuple[str, ...], str] = {}

    def run(self) -> None:
        """Rewrite the graph, and add the masks to its inputs; raise CannotExport."""
        if taken := [value.name for value in self.graph.input if value.name.startswith(MASK)]:
            raise CannotExport(f"input {taken[0]!r}: names that begin with mask_ are reserved for masks")
        self.passes = self._node("Gather", [self._node("Shape", ["mask_0"]), self._ints(0)])
        for node in self.graph.node:
            self._rewrite(node)
        output = self._unfold_output()
        del self.graph.node[:], self.graph.output[:]
        self.graph.node.extend(self.nodes)
        self.graph.output.append(output)
        self.graph.initializer.extend(self.constants.values())
        for i, site in self.sites.values():
            shape: list[str | int | None] = [PASSES, 1, *site.shape]
            self.graph.input.append(helper.make_tensor_value_info(f"{MASK}{i}", TensorProto.FLOAT, shape))

    def _rewrite(self, node: NodeProto) -> None:
        if node.output[0] in self.sites:
            self._site(*self.sites[node.output[0]])
        elif self.masked.intersection(node.input):
            self.nodes.append(_copy(node, [self._fold(name, node) for name in node.input], node.output))
            self.masked.update(name for name in node.output if name)
        else:
            self.nodes.append(node)

    # At a site

    def _site(self, i: int, site: Site) -> None:
        before, after = site.layout.before, site.layout.after
        if site.source in self.masked:
            shape = self._join(self._ints(*before), self.passes, self._ints(-1, *after))
        else:
            shape = self._ints(*before, 1, -1, *after)
        unfolded = self._node("Reshape", [site.source, shape])  # (*before, passes or 1, rows, *after)
        dropped = self._drop(site, unfolded, self._mask(i, site))  # (*before, passes, rows, *after)
        self._node("Reshape", [dropped, self._ints(*_with_rest(site.layout))], site.output)
        self.masked.add(site.output)

    def _mask(self, i: int, site: Site) -> str:
        """Return the masks as (*before, passes, 1, *after), in the type of the data."""
        mask, before, after = f"{MASK}{i}", len(site.before), len(site.after)
        if before:
            mask = self._node("Reshape", [mask, self._ints(-1, *site.before, 1, *site.after)])
            order = [*range(1, before + 1), 0, *range(before + 1, before + 2 + after)]
            mask = self._node("Transpose", [mask], perm=order)
        if site.layout.dtype != TensorProto.FLOAT:
            mask = self._node("Cast", [mask], to=site.layout.dtype)
        return mask

    def _drop(self, site: Site, data: str, mask: str) -> str:
        """Return data times mask; for alpha dropout scale·data + shift, which a mask of ones leaves unchanged."""
        if site.kind != "alpha":
            return self._node("Mul", [data, mask])
        zero, one = self._real(0, site), self._real(1, site)
        ones, kept = self._node("Equal", [mask, one]), self._node("Greater", [mask, zero])

        def choose(untouched: str, when_kept: float, when_dropped: float) -> str:
            random = self._node("Where", [kept, self._real(when_kept, site), self._real(when_dropped, site)])
            return self._node("Where", [ones, untouched, random])

        scaled = self._node("Mul", [data, choose(one, site.kept.scale, site.dropped.scale)])
        return self._node("Add", [scaled, choose(zero, site.kept.shift, site.dropped.shift)])

    # Independent of masks

    def _fold(self, name: str, reader: NodeProto) -> str:
        """Return the name of the tensor with passes x rows in place of its rows."""
        if not name or name in self.masked or self.needs[name] is Needs.NOTHING:
            return name
        if name not in self.folded:
            afresh = self.needs[name] is Needs.SHAPES or name in self.counting
            self.folded[name] = self._recompute(name, reader) if afresh else self._repeat(name, reader)
        return self.folded[name]

    def _repeat(self, name: str, reader: NodeProto) -> str:
        """Return the tensor, repeated along its rows."""
        layout = self._layout(name, reader)
        if layout.axis is None:
            return name
        split = len(layout.before)
        if layout.major > 1:
            name = self._node("Reshape", [name, self._ints(*layout.before, -1, *layout.dims[layout.axis + 1 :])])
        after = len(layout.dims) - layout.axis - 1
        repeats = self._join(self._ints(*[1] * split), self.passes, self._ints(*[1] * after))
        name = self._node("Tile", [name, repeats])
        return self._node("Reshape", [name, self._ints(*_with_rest(layout))]) if layout.major > 1 else name

    def _recompute(self, name: str, reader: NodeProto) -> str:
        """Return the tensor as computed for passes x rows."""
        node = self.made[name]
        if node.op_type == "Shape":
            return self._folded_shape(node, reader)
        if node.op_type == "Size":
            raise CannotExport(f"{describe(node)}: the size of a tensor cannot be used beside masked ones")
        inputs = [self._fold(each, reader) for each in node.input]
        outputs = [f"{OWN}of/{each}" for each in node.output]
        self.nodes.append(_copy(node, inputs, outputs))
        self.nodes[-1].name = f"{OWN}of/{node.name or node.output[0]}"
        self.folded.update(zip(node.output, outputs, strict=True))
        return self.folded[name]

    def _folded_shape(self, node: NodeProto, reader: NodeProto) -> str:
        layout = self._layout(node.input[0], reader)
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        axes = range(len(layout.dims))[bounds.get("start", 0) : bounds.get("end")]
        if layout.axis is None or layout.axis not in axes:
            return str(node.output[0])
        place = list(axes).index(layout.axis)
        factors = self._join(self._ints(*[1] * place), self.passes, self._ints(*[1] * (len(axes) - place - 1)))
        return self._node("Mul", [node.output[0], factors])

    def _layout(self, name: str, reader: NodeProto) -> Layout:
        if name not in self.layouts:
            raise CannotExport(f"{describe(reader)}: the axis of the rows in its input {name!r} is unknown")
        return self.layouts[name]

    # At the output

    def _unfold_output(self) -> Any:
        if len(self.graph.output) != 1:
            raise CannotExport(f"the network must have one output; it has {len(self.graph.output)}")
        name = self.graph.output[0].name
        layout = self.layouts.get(name)
        if name not in self.masked:
            raise CannotExport("the network's dropout does not reach its output, so there is nothing to sample")
        if layout is None or layout.axis != 0 or layout.dims[0] != 1:
            raise CannotExport(f"output {name!r}: its first axis must be the rows, and its other axes fixed")
        for node in self.nodes:
            _rename(node, name, f"{OWN}of/{name}")
        rest = layout.dims[1:]
        self._node("Reshape", [f"{OWN}of/{name}", self._join(self.passes, self._ints(-1, *rest))], name)
        return helper.make_tensor_value_info(name, layout.dtype, [PASSES, ROWS, *rest])

    # New nodes

    def _node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        name = f"{OWN}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def _ints(self, *values: int) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _real(self, value: float, site: Site) -> str:
        return self._constant(np.array(value, dtype=helper.tensor_dtype_to_np_dtype(site.layout.dtype)))

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        name = f"{OWN}{value.dtype}/{value.tolist()}"
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def _join(self, *vectors: str) -> str:
        """Return vectors of integers, concatenated; empty ones are left out."""
        filled = tuple(vector for vector in vectors if vector != self._ints())
        if filled not in self.joined:
            self.joined[filled] = self._node("Concat", filled, axis=0)
        return self.joined[filled]


def _with_rest(layout: Layout) -> tuple[int, ...]:
    """Return the dimensions for a Reshape, with -1 for any number of rows."""
    assert layout.axis is not None
    return (*layout.dims[: layout.axis], -1, *layout.dims[layout.axis + 1 :])


def _copy(node: NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(inputs)
    copy.output.extend(outputs)
    return copy


def _rename(node: NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            names[i] = new if name == old else name


def needs_of(graph: GraphProto) -> dict[str, Needs]:
    """Return the dependence of each tensor of a graph."""
    needs = {tensor.name: Needs.NOTHING for tensor in graph.initializer} | {
        value.name: Needs.VALUES for value in graph.input
    }
    for node in graph.node:
        need = max((needs[name] for name in node.input if name), default=Needs.NOTHING)
        if node.op_type in {"Shape", "Size"}:
            need = min(need, Needs.SHAPES)
        needs.update((name, need) for name in node.output)
    return needs


def _counting(graph: GraphProto, layouts: Mapping[str, Layout]) -> set[str]:
    """Return the tensors that depend on row numbers, which differ in a longer batch."""
    counting: set[str] = set()
    for node in graph.node:
        rows = layouts.get(node.output[0])
        counts = node.op_type == "Range" and (rows is None or rows.axis is not None)
        if counts or (node.op_type != "Shape" and counting.intersection(node.input)):
            counting.update(node.output)
    return counting
