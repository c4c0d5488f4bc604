"""Find the axis of the rows in each tensor of a graph.

ONNX's shape inference runs with two fixed numbers of rows: a dimension that grows with them holds them. With fixed
rows, every shape that a network computes from its input's shape is a number, which symbolic dimensions are not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from training.exporting.graphs import opset, real_inputs, shape_of

PROBES = (101, 103)
"""The two numbers of rows, both prime."""
KEEPS_ORDER = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}
"""Operators that change a tensor's dimensions and keep its elements' order in memory."""

MAKES_SHAPES = {"Add", "Cast", "Concat", "Div", "Gather", "Identity", "Mod", "Mul", "Slice", "Sub"}
"""Operators with which exporters compute shapes."""

Array = NDArray[Any]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Layout:
    """A tensor's dimensions for one row, and the axis of the rows.

    Along `axis` the tensor has major x rows x minor entries, with major * minor = dims[axis]; after transposing and
    flattening, multi-head attention has both. An axis of None: it is independent of the rows.
    """

    dtype: int
    dims: tuple[int, ...]
    axis: int | None = None
    major: int = 1

    @property
    def minor(self) -> int:
        """The number of entries behind the rows on their axis."""
        return 1 if self.axis is None else self.dims[self.axis] // self.major

    @property
    def before(self) -> tuple[int, ...]:
        """The dimensions before the rows."""
        return self.dims[: self.axis] + ((self.major,) if self.major > 1 else ())

    @property
    def after(self) -> tuple[int, ...]:
        """The dimensions after the rows."""
        assert self.axis is not None
        return ((self.minor,) if self.minor > 1 else ()) + self.dims[self.axis + 1 :]


def find_layouts(model: ModelProto) -> dict[str, Layout]:
    """Return the layout of every tensor for which it can be found."""
    shapes = [infer_shapes(model, rows) for rows in PROBES]
    layouts: dict[str, Layout] = {}
    for value in real_inputs(model.graph):
        _note(layouts, value.name, None, shapes)
    for node in model.graph.node:
        for name in node.output:
            _note(layouts, name, node, shapes)
    for tensor in model.graph.initializer:
        layouts[tensor.name] = Layout(tensor.data_type, tuple(tensor.dims))
    return layouts


def infer_shapes(model: ModelProto, rows: int) -> dict[str, tuple[int, Shape]]:
    """Return element type and shape of the tensors at a fixed number of rows."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in real_inputs(fixed.graph):
        first = value.type.tensor_type.shape.dim[:1]
        if first and not first[0].HasField("dim_value"):
            first[0].dim_value = rows
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    while True:
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        known = {v.name: (v.type.tensor_type.elem_type, shape) for v in values if (shape := shape_of(v)) is not None}
        made = [name for node in fixed.graph.node for name in node.output if name]
        complete = all(name in known and None not in known[name][1] for name in made)
        if complete or not _compute_shapes(fixed, {name: shape for name, (_, shape) in known.items()}):
            return known


def _compute_shapes(model: ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Replace tensors that follow from known shapes by constants, where the inference stopped; return whether
    any was.
    """
    graph, version = model.graph, opset(model)
    small = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT64 and _is_small(tensor)]
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in small}
    before = len(graph.node)
    for node in list(graph.node):
        value = _shape_value(node, version, values, shapes)
        if value is not None:
            values[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            graph.node.remove(node)
    return len(graph.node) < before


def _shape_value(
    node: NodeProto, version: int, values: Mapping[str, Array], shapes: Mapping[str, Shape]
) -> Array | None:
    if node.op_type == "Shape" and None not in (dims := shapes.get(node.input[0], (None,))):
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(dims[bounds.get("start", 0) : bounds.get("end")], dtype=np.int64)
    made = shapes.get(node.output[0], (None,))
    if node.op_type in KEEPS_ORDER and node.input[0] in values and None not in made:
        return values[node.input[0]].reshape([dim for dim in made if dim is not None])
    if node.op_type in MAKES_SHAPES and all(name in values for name in node.input):
        evaluator = ReferenceEvaluator(node, opsets={"": version})
        results: list[Any] = list(evaluator.run(None, {name: values[name] for name in node.input}))
        return np.asarray(results[0])
    return None


def _is_small(tensor: TensorProto) -> bool:
    return int(np.prod(tensor.dims)) <= 32


def _note(
    layouts: dict[str, Layout], name: str, node: NodeProto | None, shapes: list[dict[str, tuple[int, Shape]]]
) -> None:
    one, other = (found.get(name) for found in shapes)
    layout = _per_row(*one, other[1]) if one and other else None
    if layout and layout.axis is not None and node is not None:
        layout = _with_major(layout, node, layouts)
    if layout:
        layouts[name] = layout


def _per_row(dtype: int, one: Shape, other: Shape) -> Layout | None:
    varying = [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    dims = [dim for dim in one if dim is not None]
    if len(dims) < len(one) or len(varying) > 1:
        return None
    if not varying:
        return Layout(dtype, tuple(dims))
    (axis,) = varying
    each, remainder = divmod(dims[axis], PROBES[0])
    if remainder or other[axis] != each * PROBES[1]:
        return None
    return Layout(dtype, (*dims[:axis], each, *dims[axis + 1 :]), axis)


def _with_major(layout: Layout, node: NodeProto, layouts: Mapping[str, Layout]) -> Layout | None:
    """Return the layout with the rows' place in their axis; None when the node scrambles them or it is unknown."""
    assert layout.axis is not None
    each = layout.dims[layout.axis]
    sources = [found for name in node.input if (found := layouts.get(name)) and found.axis is not None]
    if node.op_type in KEEPS_ORDER and sources:
        major, remainder = divmod(math.prod(sources[0].before), math.prod(layout.dims[: layout.axis]))
        fits = not remainder and major and each % major == 0
        return Layout(layout.dtype, layout.dims, layout.axis, major) if fits else None
    if each == 1:
        return layout
    alike = [found for found in sources if found.axis is not None and found.dims[found.axis] == each]
    return Layout(layout.dtype, layout.dims, layout.axis, alike[0].major) if alike else None
