"""Remove the end of a classification that turns logits into probabilities, as temperatures divide logits.

Verification checks that the softmax of the graphs' answers is the network's own answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from service.engine.uncertainty import softmax
from service.model.runtime import Array
from training.errors import CannotExport
from training.exporting.graphs import bypass, describe, opset, producers, prune, shape_of
from training.exporting.layout import PROBES, infer_shapes

SAME_NUMBERS = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
"""Operators that keep a tensor's elements and their order."""
ONE_AXIS_OPSET = 13
"""From this opset on a Softmax is over one axis; before, over that axis and all behind it."""
TINY = np.float32(np.finfo(np.float32).tiny)
"""Added to probabilities, so that the logarithm of 0 is finite: log(p + TINY) is log p from 1e-30 on."""
ADD_UP = 1e-3
"""The largest distance of the sum of a row's probabilities from 1, by rounding in half precision."""

TAKEN_OFF = "removed from the end; a temperature divides logits, and at 1 the answers are the same"
LOGARITHM = (
    "warning: the outputs are probabilities, each row's lie in [0, 1] and add up to 1, though no Softmax is their last"
    " operator; their logarithms are used as logits, and at temperature 1 the answers are the same"
)
UNNAMED = (
    "warning: the outputs look like probabilities, each row's lie in [0, 1] and add up to 1; without labels they are"
    " published as the values of a regression"
)
REFUSED = {
    "Sigmoid": (
        "the network ends in a sigmoid, so each output is a probability of its own; a classification needs a logit for"
        " each of two or more classes that exclude one another: for a single z before the sigmoid use 0 and z"
    ),
    "Softmax": (
        "the network ends in a softmax over another axis than that of its outputs, which are not logits then; a"
        " classification needs a logit for each class"
    ),
}
"""Reasons to refuse last operators that a classification cannot have."""


def _same(outputs: Array) -> Array:
    return outputs


def log_softmax(logits: Array) -> Array:
    """Return the logarithms of the softmax over the last axis."""
    below = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True)
class Ending:
    """The end of the network itself: `answer` turns the graphs' logits (…, classes) into the network's outputs.

    `note` is a remark for the user.
    """

    answer: Callable[[Array], Array] = _same
    note: str = ""


NOTHING = Ending()
"""The ending of a network whose outputs are those of its graphs."""
ANSWERS: dict[str, Callable[[Array], Array]] = {"Softmax": softmax, "LogSoftmax": log_softmax}
"""The function of each last operator that is removed."""


def to_logits(model: ModelProto, outputs: Array) -> Ending:
    """Make the flat graph of a classification answer with logits, in place; return the ending removed.

    A softmax over the classes is removed. `outputs` (rows, classes) are the network's own for some rows, without
    dropout: where they are probabilities of any origin, their logarithms are the logits.

    Raises CannotExport for a sigmoid, whose classes do not exclude one another, and for a softmax over another axis.
    """
    node = _last(model)
    if node is not None and node.op_type in ANSWERS and _over_classes(model, node):
        bypass(model.graph, {node.output[0]: node.input[0]})
        prune(model.graph)
        return Ending(ANSWERS[node.op_type], f"{describe(node)}: {TAKEN_OFF}")
    if are_probabilities(outputs):
        _append_logarithm(model)
        return Ending(softmax, LOGARITHM)
    if node is not None and node.op_type in REFUSED:
        raise CannotExport(f"{describe(node)}: {REFUSED[node.op_type]}")
    return NOTHING


def are_probabilities(outputs: Array) -> bool:
    """Return whether each row of (rows, outputs) lies in [0, 1] and adds up to 1."""
    if outputs.shape[1] < 2 or not (outputs >= 0).all():
        return False
    return bool(np.allclose(outputs.sum(axis=1, dtype=np.float64), 1, rtol=0, atol=ADD_UP))


def _append_logarithm(model: ModelProto) -> None:
    (output,) = model.graph.output
    probabilities, tiny, above = (f"{output.name}/{what}" for what in ("probabilities", "tiny", "above_0"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [probabilities if name == output.name else name for name in names]
    model.graph.initializer.append(numpy_helper.from_array(np.array(TINY), tiny))
    model.graph.node.append(helper.make_node("Add", [probabilities, tiny], [above]))
    model.graph.node.append(helper.make_node("Log", [above], [output.name]))


def _last(model: ModelProto) -> NodeProto | None:
    """Return the node that makes the outputs, before operators that keep their elements."""
    made = producers(model.graph)
    node = made.get(model.graph.output[0].name)
    while node is not None and node.op_type in SAME_NUMBERS:
        node = made.get(node.input[0])
    return node


def _over_classes(model: ModelProto, node: NodeProto) -> bool:
    """Return whether a Softmax normalises each row's outputs; where shapes are unknown, it must be over the
    last axis.
    """
    axis = next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), None)
    each = opset(model) >= ONE_AXIS_OPSET
    shapes = infer_shapes(model, PROBES[0])
    dims, outputs = shapes.get(node.input[0], (0, (None,)))[1], shape_of(model.graph.output[0]) or (None,)
    known = [dim for dim in dims if dim is not None]
    if len(known) < len(dims) or outputs[-1] is None:
        return axis in (None, -1, 1)
    start = range(len(known))[(-1 if each else 1) if axis is None else axis]
    span = known[start : start + 1] if each else known[start:]
    return start > 0 and prod(span) == outputs[-1]
