"""The end of a graph: one output, and of a classification logits."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from service.runtime import Array
from service.uncertainty import softmax
from training.errors import CannotExport
from training.graphs import bypass, describe, producers, prune, shape_of


def log_softmax(logits: Array) -> Array:
    below = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


PROBABILITIES: dict[str, Callable[[Array], Array]] = {"Softmax": softmax, "LogSoftmax": log_softmax}
"""What stands at the end of a classification, and what it does to logits (rows, classes)."""
LAST_AXES = {-1, 1}


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


def to_logits(model: ModelProto) -> NodeProto | None:
    """Take a Softmax off the end of a classifier, in place, and return it; temperatures divide what goes into it.

    Raises CannotExport for a Sigmoid at the end, whose classes do not exclude one another.
    """
    node = _last(model)
    if node is None:
        return None
    if node.op_type == "Sigmoid":
        raise CannotExport(
            f"{describe(node)}: the network ends in a sigmoid, so its outputs are probabilities by themselves; a"
            " classification needs a logit for each of two or more classes that exclude one another"
        )
    if node.op_type not in PROBABILITIES or _axis(node) not in LAST_AXES:
        return None
    bypass(model.graph, {node.output[0]: node.input[0]})
    prune(model.graph)
    return node


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
