"""Helpers for ONNX graphs, and the common properties of exported graphs."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from training.errors import CannotExport

OLDEST_OPSET = 7
"""The oldest opset that can be read, the first with broadcasting."""
WEIGHTS_APART_IR = 4
"""From this IR version on initializers need not be inputs, too."""
NEWEST_IR = 10
NEWEST_OPSET = 21
"""The newest IR version and opset of onnxruntime 1.20; the service supports 1.21 and newer."""

ROWS = "rows"
"""The name of the axis of rows."""
NUMBERS = {"value_float", "value_floats", "value_int", "value_ints"}
"""Attributes of a Constant that are allowed beside a tensor."""


def normalised(model: ModelProto) -> ModelProto:
    """Return a flat copy in which the first axis of the inputs is that of the rows, unless it is fixed.

    Raises CannotExport as `flattened` does, and where no input has a free axis.
    """
    copy = flattened(model)
    _name_rows(copy.graph)
    return copy


def flattened(model: ModelProto) -> ModelProto:
    """Return a copy in which every operator is a node of one graph and every constant an initializer.

    Raises CannotExport for opsets before 7 (no broadcasting) and for control flow, whose inner graphs can read tensors
    of the outer one.
    """
    if model.functions:
        model = inline_local_functions(model)
    copy = ModelProto()
    copy.CopyFrom(model)
    if (version := opset(copy)) < OLDEST_OPSET:
        raise CannotExport(f"the graph is of opset {version}; opset {OLDEST_OPSET} or newer is needed")
    for node in copy.graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise CannotExport(f"{describe(node)}: control flow is not supported")
    _constants_to_initializers(copy.graph)
    inputs = real_inputs(copy.graph)
    copy.ir_version = max(copy.ir_version, WEIGHTS_APART_IR)
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def _name_rows(graph: GraphProto) -> None:
    """Name the first axis of every input that of the rows, unless it is fixed."""
    first = [value.type.tensor_type.shape.dim[0] for value in graph.input if value.type.tensor_type.shape.dim]
    symbolic = [dim for dim in first if not dim.HasField("dim_value")]
    if not symbolic:
        raise CannotExport("every input of the graph has a fixed number of rows; export it with a dynamic first axis")
    for dim in symbolic:
        dim.dim_param = ROWS


def _constants_to_initializers(graph: GraphProto) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        attribute = node.attribute[0]
        value = helper.get_attribute_value(attribute)
        if not isinstance(value, TensorProto):
            if attribute.name not in NUMBERS:
                raise CannotExport(f"{describe(node)}: its {attribute.name} is not supported; numbers are")
            kind = np.float32 if attribute.name.startswith("value_float") else np.int64
            value = numpy_helper.from_array(np.array(value, dtype=kind))
        graph.initializer.add().CopyFrom(value)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)


def opset(model: ModelProto) -> int:
    """Return the version of ONNX's own operators."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in {"", "ai.onnx"})


def describe(node: NodeProto) -> str:
    """Return the name of a node for a message."""
    return f"{node.op_type} node {node.name or node.output[0]!r}"


def real_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs without the initializers, which graphs of IR version 3 list among them."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Return the node that makes each tensor, by name."""
    return {name: node for node in graph.node for name in node.output if name}


def readers(graph: GraphProto, name: str) -> list[NodeProto]:
    """Return the nodes that read a tensor."""
    return [node for node in graph.node if name in node.input]


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """Return the known dimensions, None for an unknown one; None for a tensor of unknown rank."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)


def bypass(graph: GraphProto, replaced: Mapping[str, str]) -> None:
    """Read `replaced[name]` wherever `name` was read, also if a tensor replaces another that is replaced itself."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = _followed(name, replaced)
    for output in graph.output:
        source = _followed(output.name, replaced)
        if source != output.name:
            _rename(graph, source, output.name)


def _followed(name: str, replaced: Mapping[str, str]) -> str:
    while name in replaced:
        name = replaced[name]
    return name


def _rename(graph: GraphProto, source: str, output: str) -> None:
    """Rename the tensor `source` to `output`, a graph's output; the former producer of that is dropped."""
    for node in [node for node in graph.node if output in node.output]:
        graph.node.remove(node)
    made = producers(graph)
    if source not in made:
        graph.node.append(helper.make_node("Identity", [source], [output]))
        return
    for names in [made[source].output, *(node.input for node in readers(graph, source))]:
        for i, name in enumerate(names):
            names[i] = output if name == source else name


def prune(graph: GraphProto) -> None:
    """Drop the nodes and initializers that reach no output."""
    needed = {output.name for output in graph.output}
    alive: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            alive.append(node)
            needed.update(node.input)
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    nodes = alive[::-1]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def finished(model: ModelProto) -> ModelProto:
    """Return the graph as it is published, checked by ONNX's own checker.

    Without metadata, because exporters write stack traces with local paths into it; without the shapes of inner
    tensors, because stale ones make onnxruntime reuse buffers of the wrong size.
    """
    for part in metadata_holders(model):
        for field in {"doc_string", "metadata_props"}.intersection(part.DESCRIPTOR.fields_by_name):
            part.ClearField(field)
    del model.graph.value_info[:]
    model.ir_version = min(model.ir_version, NEWEST_IR)
    model.producer_name, model.producer_version = "dropserve", ""
    model.ClearField("training_info")
    onnx.checker.check_model(_with_weights_given(model), full_check=True)
    return model


def _with_weights_given(model: ModelProto) -> ModelProto:
    """Return the graph with its weights in other files as inputs: ONNX's checker would look for the files."""
    copy = ModelProto()
    copy.CopyFrom(model)
    elsewhere = [each for each in copy.graph.initializer if each.data_location == TensorProto.EXTERNAL]
    for tensor in elsewhere:
        copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        copy.graph.initializer.remove(tensor)
    return copy


def metadata_holders(model: ModelProto) -> Iterator[Any]:
    """Yield the parts of a model that can hold metadata."""
    graph = model.graph
    yield model
    yield graph
    for parts in (graph.node, graph.input, graph.output, graph.initializer):
        yield from parts
    for node in graph.node:
        yield from node.attribute
