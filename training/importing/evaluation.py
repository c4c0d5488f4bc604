"""Set a graph to evaluation mode, except for its dropout."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from service.model.runtime import Array
from training.exporting.graphs import constants, describe, producers, prune, real_inputs, shape_of
from training.exporting.sites import drop_ratio

MOVED = (
    "was in training mode, now uses its running statistics; torch's older exporter updates these with its example"
    " rows, so that they differ from the network's: export with batch normalisation in evaluation mode (docs/import.md)"
)
"""The note on batch normalisation in training mode."""
HANDS_ON = {"Cast", "Identity", "Not", "Reshape", "Squeeze", "Unsqueeze"}
"""Operators allowed between the input that switches dropout and the dropout."""


def to_evaluation(model: ModelProto) -> list[str]:
    """Change the graph in place: batch normalisation uses its running statistics, and no input switches modes.

    Returns notes on the changes, for the user. Raises CannotExport for dropout without a constant ratio.
    """
    notes = [_set_evaluation(node) for node in model.graph.node if node.op_type == "BatchNormalization"]
    known, off = constants(model.graph), switches_off(model)
    for node in model.graph.node:
        if node.op_type == "Dropout":
            drop_ratio(node, known)  # raises for a ratio that is not constant
            del node.input[2:]  # the training mode
    for value in [value for value in model.graph.input if value.name in off]:
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(off[value.name], value.name))
        notes.append(f"input {value.name!r}, which turned dropout on and off, is removed")
    prune(model.graph)
    return [note for note in notes if note]


def _set_evaluation(node: NodeProto) -> str:
    training = is_training(node)
    del node.output[1:]
    for attribute in [attribute for attribute in node.attribute if attribute.name == "training_mode"]:
        node.attribute.remove(attribute)
    return f"{describe(node)}: {MOVED}" if training else ""


def is_training(node: NodeProto) -> bool:
    """Return whether a BatchNormalization is in training mode: by an attribute since opset 14, before by its
    outputs.
    """
    modes = [attribute.i for attribute in node.attribute if attribute.name == "training_mode"]
    return len(node.output) > 1 or any(modes)


def switches_off(model: ModelProto) -> dict[str, Array]:
    """Return the inputs that turn dropout on and off, by name, each with its value for off."""
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
    """Return the tensor that a Dropout's training mode is computed from, and its value for off."""
    value = False
    while mode in made and made[mode].op_type in HANDS_ON:
        value ^= made[mode].op_type == "Not"
        mode = made[mode].input[0]
    return mode, value
