"""A graph as its exporter left it → one in evaluation mode, whose answer is that of the network's last layer.

Dropout stays: it is what is to be sampled.
"""

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from training.errors import CannotExport
from training.graphs import bypass, constants, describe, producers, prune, readers, shape_of
from training.sites import drop_ratio

PROBABILITIES = {"Softmax", "LogSoftmax"}
LAST_AXES = {-1, 1}
MOVED = (
    "was in training mode, now uses its running statistics; torch's older exporter moves these by its example rows, so"
    " that the file's are not the network's: export with batch normalisation in evaluation mode (docs/import.md)"
)


def to_evaluation(model: ModelProto) -> list[str]:
    """Change the graph in place: batch normalisation uses its running statistics, and no input switches modes.

    Returns what was changed, for the user to know. Raises CannotExport for dropout whose ratio is no constant.
    """
    notes = [_set_evaluation(node) for node in model.graph.node if node.op_type == "BatchNormalization"]
    known = constants(model.graph)
    for node in model.graph.node:
        if node.op_type == "Dropout":
            drop_ratio(node, known)  # or it is refused
            del node.input[2:]  # whether it is on
    switches = [value for value in model.graph.input if _is_switch(value)]
    for value in switches:
        if not readers(model.graph, value.name):
            model.graph.input.remove(value)
            notes.append(f"input {value.name!r}, which turned dropout on and off, is gone")
    return [note for note in notes if note]


def _set_evaluation(node: NodeProto) -> str:
    """Training mode is an attribute since opset 14, and told by the number of outputs before."""
    training = len(node.output) > 1
    del node.output[1:]
    for attribute in [attribute for attribute in node.attribute if attribute.name == "training_mode"]:
        training = training or bool(attribute.i)
        node.attribute.remove(attribute)
    return f"{describe(node)}: {MOVED}" if training else ""


def _is_switch(value: ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return bool(tensor.elem_type == TensorProto.BOOL) and not tensor.shape.dim


def check_output(model: ModelProto) -> None:
    """Raises CannotExport unless the graph has one output (rows, outputs) of float32."""
    outputs = model.graph.output
    if len(outputs) != 1:
        names = ", ".join(repr(output.name) for output in outputs)
        raise CannotExport(f"the network must have one output; the file has {len(outputs)}: {names}")
    kind, shape = outputs[0].type.tensor_type.elem_type, shape_of(outputs[0])
    if kind != TensorProto.FLOAT:
        found = TensorProto.DataType.Name(kind).lower()
        raise CannotExport(f"output {outputs[0].name!r}: must be float32, which is served; it is {found}")
    if shape is not None and len(shape) != 2:
        raise CannotExport(
            f"output {outputs[0].name!r}: must be of shape (rows, outputs); it has {len(shape)} dimensions"
        )


def to_logits(model: ModelProto) -> list[str]:
    """Take a Softmax off the end of a classifier, in place; temperatures divide what goes into it.

    Raises CannotExport for a Sigmoid at the end, whose classes do not exclude one another.
    """
    node = _last(model)
    if node is None:
        return []
    if node.op_type == "Sigmoid":
        raise CannotExport(
            f"{describe(node)}: the network ends in a sigmoid, so its outputs are probabilities by themselves; a"
            " classification needs a logit for each of two or more classes that exclude one another"
        )
    if node.op_type not in PROBABILITIES or _axis(node) not in LAST_AXES:
        return []
    bypass(model.graph, {node.output[0]: node.input[0]})
    prune(model.graph)
    return [f"{describe(node)}: taken off the end; a temperature divides logits, and at 1 the answers are the same"]


def _last(model: ModelProto) -> NodeProto | None:
    """The node that makes the output, looking through what changes nothing."""
    made = producers(model.graph)
    node = made.get(model.graph.output[0].name)
    while node is not None and node.op_type == "Identity":
        node = made.get(node.input[0])
    return node


def _axis(node: NodeProto) -> int:
    """Of two dimensions the last is meant in every opset, if nothing else is said."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), -1)


def lost_attention(model: ModelProto) -> list[str]:
    """Whether attention weights go on without dropout, which some exporters lose."""
    weights = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    plain = [name for name in weights if any(_multiplies(node, name) for node in readers(model.graph, name))]
    if not plain:
        return []
    return [
        f"{len(plain)} attentions have no dropout in the file; if the network has some there, its exporter lost it, as"
        " torch's newer one does; dynamo=False keeps it, and so does publishing the torch module itself"
    ]


def _multiplies(node: NodeProto, weights: str) -> bool:
    return bool(node.op_type == "MatMul" and node.input[0] == weights)
