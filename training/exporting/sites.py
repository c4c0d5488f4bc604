"""Find the dropout sites of a graph: their place, kind, probability and mask shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from training.errors import CannotExport
from training.exporting.dropout_arithmetic import UNIFORM, Affine, decimal, find_block
from training.exporting.graphs import bypass, constants, describe, producers, prune, readers
from training.exporting.layout import Layout, find_layouts

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", *UNIFORM}
"""Operators that draw random numbers, beside Dropout."""

DIGITS = 7
"""Decimals of p that float32 holds."""


@dataclass(frozen=True)
class Site:
    """A dropout from the tensor `source` to the tensor `output`.

    `before` and `after` are the dimensions of one pass's mask around the rows: those of the data, or 1 where an entry
    is shared along an axis.
    """

    name: str
    kind: Literal["dropout", "feature", "alpha"]
    p: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    source: str
    output: str
    layout: Layout
    kept: Affine
    dropped: Affine

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the mask of one pass; the graph input is (passes, 1, *shape)."""
        return self.before + self.after


def mark_sites(model: ModelProto) -> tuple[ModelProto, tuple[Site, ...]]:
    """Return a copy of a normalised graph with an Identity node at each site, and the sites in order of execution.

    Raises CannotExport, naming the node, for randomness that is not dropout and for dropout that no mask of fixed
    shape, shared by the rows, can express.
    """
    marked = ModelProto()
    marked.CopyFrom(model)
    graph = marked.graph
    drop_idle(graph)
    layouts = find_layouts(marked)
    sites = _with_unique_names([site for node in graph.node if (site := _site(graph, node, layouts))])
    for site in sites:
        node = producers(graph)[site.output]
        node.CopyFrom(helper.make_node("Identity", [site.source], [site.output], name=node.name))
    prune(graph)
    for node in graph.node:
        if node.op_type in RANDOM:
            raise CannotExport(f"{describe(node)}: its random numbers are used for something other than dropout")
    return marked, sites


def drop_idle(graph: GraphProto) -> None:
    """Remove dropout with p = 0, and nodes that do not reach the output."""
    known = constants(graph)
    idle = [node for node in graph.node if node.op_type == "Dropout" and drop_ratio(node, known) == 0]
    bypass(graph, {node.output[0]: node.input[0] for node in idle})
    prune(graph)


def drop_ratio(node: NodeProto, known: Mapping[str, TensorProto]) -> float:
    """Return the probability of a Dropout node: an input since opset 12, an attribute before."""
    for attribute in node.attribute:
        if attribute.name == "ratio":
            return round(decimal(attribute.f), DIGITS)
    if len(node.input) < 2 or not node.input[1]:
        return 0.5
    if node.input[1] not in known:
        raise CannotExport(f"{describe(node)}: its ratio must be a constant")
    ratio = numpy_helper.to_array(known[node.input[1]])
    if ratio.size != 1:
        raise CannotExport(f"{describe(node)}: its ratio must be one number; it has {ratio.size}")
    return round(decimal(ratio.item()), DIGITS)


def _site(graph: GraphProto, node: NodeProto, layouts: Mapping[str, Layout]) -> Site | None:
    if node.op_type == "Dropout":
        return _from_dropout(graph, node, layouts)
    if node.op_type in UNIFORM:
        return _from_arithmetic(graph, node, layouts)
    return None


def _from_dropout(graph: GraphProto, node: NodeProto, layouts: Mapping[str, Layout]) -> Site:
    if len(node.output) > 1 and node.output[1] and readers(graph, node.output[1]):
        raise CannotExport(f"{describe(node)}: its mask output is used by another node, which is not supported")
    p = _below_one(drop_ratio(node, constants(graph)), node)
    layout = _data_layout(node.input[0], node, layouts)
    kept, dropped = Affine(1 / (1 - p)), Affine(0)
    before, after = layout.before, layout.after
    return Site(module_path(node), "dropout", p, before, after, node.input[0], node.output[0], layout, kept, dropped)


def _from_arithmetic(graph: GraphProto, node: NodeProto, layouts: Mapping[str, Layout]) -> Site:
    block = find_block(graph, node)
    p = _below_one(round(1 - block.keep, DIGITS), node)
    layout = _data_layout(block.source, node, layouts)
    before, after = _mask_dims(layouts.get(block.mask), layout, node)
    whole = (before, after) == (layout.before, layout.after)
    kind: Literal["dropout", "feature", "alpha"] = "alpha" if not block.plain else "dropout" if whole else "feature"
    return Site(
        module_path(node), kind, p, before, after, block.source, block.output, layout, block.kept, block.dropped
    )


def _below_one(p: float, node: NodeProto) -> float:
    if not 0 <= p < 1:
        raise CannotExport(f"{describe(node)}: its p is {p}; it must be at least 0 and below 1")
    return p


def _data_layout(name: str, node: NodeProto, layouts: Mapping[str, Layout]) -> Layout:
    layout = layouts.get(name)
    if layout is None:
        raise CannotExport(f"{describe(node)}: the shape of its input {name!r} is unknown")
    if layout.axis is None:
        raise CannotExport(f"{describe(node)}: its input {name!r} is the same for all rows; masks need an axis of rows")
    return layout


def _mask_dims(mask: Layout | None, data: Layout, node: NodeProto) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the mask's dimensions before and after the rows; it may be shared along any axis."""
    if mask is None:
        raise CannotExport(f"{describe(node)}: the shape of its mask is unknown")
    assert data.axis is not None
    missing = len(data.dims) - len(mask.dims)
    dims = (1,) * missing + mask.dims
    axis = data.axis if mask.axis is None else mask.axis + missing
    shared_by_rows = mask.axis is None and dims[data.axis] == 1
    if axis != data.axis or not (mask.axis is not None or shared_by_rows):
        raise CannotExport(f"{describe(node)}: the rows of its mask are not those of its data")
    if dims[axis] == data.dims[axis]:
        placed = Layout(mask.dtype, dims, axis, data.major)
        return placed.before, placed.after
    return dims[:axis] + (1,) * (data.major > 1), (1,) * (data.minor > 1) + dims[axis + 1 :]


def module_path(node: NodeProto, whole: str = "dropout") -> str:
    """Return the path of a node's module, where torch's exporter records it (`whole` at the top), or the node's
    name.
    """
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = [scope.strip(" '\"") for scope in entry.value.strip("[]").split(",")]
            return scopes[-2] if len(scopes) > 1 and scopes[-2] else whole
    return node.name or node.output[0]


def _with_unique_names(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Name the sites of a module that is used twice `drop` and `drop:2`."""
    seen: dict[str, int] = {}
    named = []
    for site in sites:
        seen[site.name] = count = seen.get(site.name, 0) + 1
        named.append(site if count == 1 else replace(site, name=f"{site.name}:{count}"))
    return tuple(named)
