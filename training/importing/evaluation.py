"""A graph as its exporter left it → one in evaluation mode.

Dropout stays: it is what is to be sampled.
"""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from service.model.runtime import Array
from training.exporting.graphs import constants, describe, producers, prune, real_inputs, shape_of
from training.exporting.sites import drop_ratio

MOVED = (
    "was in training mode, now uses its running statistics; torch's older exporter moves these by its example rows, so"
    " that the file's are not the network's: export with batch normalisation in evaluation mode (docs/import.md)"
)
HANDS_ON = {"Cast", "Identity", "Not", "Reshape", "Squeeze", "Unsqueeze"}
"""What may stand between the input that switches dropout and the dropout."""


def to_evaluation(model: ModelProto) -> list[str]:
    """Change the graph in place: batch normalisation uses its running statistics, and no input switches modes.

    Returns what was changed, for the user to know. Raises CannotExport for dropout whose ratio is no constant.
    """
    notes = [_set_evaluation(node) for node in model.graph.node if node.op_type == "BatchNormalization"]
    known, off = constants(model.graph), switches_off(model)
    for node in model.graph.node:
        if node.op_type == "Dropout":
            drop_ratio(node, known)  # or it is refused
            del node.input[2:]  # whether it is on
    for value in [value for value in model.graph.input if value.name in off]:
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(off[value.name], value.name))
        notes.append(f"input {value.name!r}, which turned dropout on and off, is gone")
    prune(model.graph)
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


def switches_off(model: ModelProto) -> dict[str, Array]:
    """Return the inputs that turn dropout on and off, by name, each with its value that turns it off."""
    inputs, made = {value.name: value for value in real_inputs(model.graph)}, producers(model.graph)
    found = {}
    for node in model.graph.node:
        if node.op_type == "Dropout" and len(node.input) > 2:
            name, value = _traced(node.input[2], made)
            if name in inputs and (shape := shape_of(inputs[name])) in ((), (1,)):
                kind = tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type)
                found[name] = np.full(shape, value, dtype=kind)
    return found


def _traced(mode: str, made: Mapping[str, NodeProto]) -> tuple[str, bool]:
    """The tensor that a Dropout's training mode comes from, and its value for which that is false."""
    value = False
    while mode in made and made[mode].op_type in HANDS_ON:
        value ^= made[mode].op_type == "Not"
        mode = made[mode].input[0]
    return mode, value
