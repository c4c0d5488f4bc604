"""Find dropout that an exporter wrote as arithmetic on uniform numbers: RandomUniformLike → Less → Cast → …

torch's Dropout1d to 3d, AlphaDropout, FeatureAlphaDropout and stochastic depth are exported so. Only the effect of the
arithmetic counts: a unit x becomes scale·x + shift, with one pair of numbers when it is kept and another when it is
dropped. The effect is found by evaluating the arithmetic.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

from training.errors import CannotExport
from training.exporting.graphs import describe, producers, readers

UNIFORM = {"RandomUniform", "RandomUniformLike"}
"""Operators that draw uniform numbers."""
ARITHMETIC: dict[str, Callable[..., float]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Neg": lambda a: -a,
    "Cast": lambda a: a,
    "CastLike": lambda a, _: a,
    "Identity": lambda a: a,
    "Not": lambda a: 1 - a,
    "Where": lambda condition, a, b: a if condition else b,
}
"""Operators allowed between the uniform numbers and the output of a dropout, and their effect on numbers."""


@dataclass(frozen=True)
class Affine:
    """The function scale·x + shift."""

    scale: float
    shift: float = 0.0


@dataclass(frozen=True)
class Block:
    """The nodes of one dropout from `source` to `output`; `mask` is the tensor that is true for kept units."""

    keep: float
    mask: str
    source: str
    output: str
    kept: Affine
    dropped: Affine

    @property
    def plain(self) -> bool:
        """Whether kept units become x/keep and dropped ones 0."""
        rescaled = math.isclose(self.kept.scale * self.keep, 1, rel_tol=1e-5)
        return rescaled and self.kept.shift == self.dropped.scale == self.dropped.shift == 0


def find_block(graph: GraphProto, node: NodeProto) -> Block:
    """Return the dropout that uses this node's uniform numbers; raise CannotExport for any other randomness."""
    scalars = _scalars(graph)
    keep, mask = _threshold(graph, node, scalars)
    source, output = _ends(graph, mask, node)

    def effect(kept: float) -> Affine:
        at = [_evaluate(output, {**scalars, source: x, mask: kept}, made, node) for x in (0.0, 1.0, 3.0)]
        if not math.isclose(at[2], 3 * (at[1] - at[0]) + at[0], rel_tol=1e-5):
            raise CannotExport(f"{describe(node)}: is random, but its effect is not that of dropout")
        return Affine(at[1] - at[0], at[0])

    made = producers(graph)
    return Block(keep, mask, source, output, effect(1.0), effect(0.0))


def _scalars(graph: GraphProto) -> dict[str, float]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if np.prod(tensor.dims) == 1}
    return {name: decimal(array.item()) for name, array in arrays.items() if array.dtype.kind in "fiub"}


def decimal(value: float) -> float:
    """Return the shortest decimal of a float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def _threshold(graph: GraphProto, node: NodeProto, scalars: Mapping[str, float]) -> tuple[float, str]:
    """Return the probability to keep, and the name of the mask: uniform numbers below a constant."""
    following = readers(graph, node.output[0])
    bounds = {attribute.name: attribute.f for attribute in node.attribute}
    ordinary = (bounds.get("low", 0), bounds.get("high", 1)) == (0, 1)
    if ordinary and [reader.op_type for reader in following] == ["Less"]:
        uniform, limit = following[0].input
        if uniform == node.output[0] and limit in scalars:
            return scalars[limit], following[0].output[0]
    raise CannotExport(f"{describe(node)}: is random, but is not dropout")


def _ends(graph: GraphProto, mask: str, node: NodeProto) -> tuple[str, str]:
    """Return the tensor that the mask is first combined with, and the output of the last such node."""
    weights = {tensor.name for tensor in graph.initializer}
    pure, meetings = {mask}, []
    for reader in graph.node:
        inputs = {name for name in reader.input if name and name not in weights}
        if inputs and inputs <= pure:
            pure.update(reader.output)
        elif inputs & pure:
            meetings.append(reader)
    data = set(meetings[0].input) - pure - weights if meetings else set()
    if len(data) != 1:
        raise CannotExport(f"{describe(node)}: is random, but does not drop units of one tensor")
    return data.pop(), meetings[-1].output[0]


def _evaluate(name: str, values: Mapping[str, float], made: Mapping[str, NodeProto], node: NodeProto) -> float:
    """Return the value of a tensor of one element."""
    if name in values:
        return values[name]
    origin = made.get(name)
    if origin is None or origin.op_type not in ARITHMETIC:
        what = describe(origin) if origin else f"tensor {name!r}"
        raise CannotExport(f"{describe(node)}: is random and is combined with {what}, which is not dropout")
    return ARITHMETIC[origin.op_type](*(_evaluate(each, values, made, node) for each in origin.input))
