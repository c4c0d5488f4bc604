"""A graph as its exporter left it → one in evaluation mode.

Dropout stays: it is what is to be sampled.
"""

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from training.graphs import constants, describe, readers
from training.sites import drop_ratio

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
    switches = [value for value in model.graph.input if is_switch(value)]
    for value in switches:
        if not readers(model.graph, value.name):
            model.graph.input.remove(value)
            notes.append(f"input {value.name!r}, which turned dropout on and off, is gone")
    return [note for note in notes if note]


def _set_evaluation(node: NodeProto) -> str:
    training = is_training(node)
    del node.output[1:]
    for attribute in [attribute for attribute in node.attribute if attribute.name == "training_mode"]:
        node.attribute.remove(attribute)
    return f"{describe(node)}: {MOVED}" if training else ""


def is_training(node: NodeProto) -> bool:
    """Of a BatchNormalization: an attribute since opset 14, told by the number of outputs before."""
    modes = [attribute.i for attribute in node.attribute if attribute.name == "training_mode"]
    return len(node.output) > 1 or any(modes)


def is_switch(value: ValueInfoProto) -> bool:
    """Whether an input turns dropout on and off."""
    tensor = value.type.tensor_type
    return bool(tensor.elem_type == TensorProto.BOOL) and not tensor.shape.dim
