"""Dropout that an exporter wrote out as arithmetic on uniform noise: RandomUniformLike → Less → Cast → …

So come torch's Dropout1d to 3d, AlphaDropout, FeatureAlphaDropout and stochastic depth. Whatever the
arithmetic, only its effect counts: a unit x becomes scale·x + shift, with one pair of numbers when it is
kept and another when it is dropped. The effect is found by calculating it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

from training.errors import CannotExport
from training.exporting.graphs import describe, producers, readers

UNIFORM = {"RandomUniform", "RandomUniformLike"}
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
"""What may stand between the noise and the output of a dropout."""


@dataclass(frozen=True)
class Affine:
    """scale·x + shift"""

    scale: float
    shift: float = 0.0


@dataclass(frozen=True)
class Block:
    """The nodes of one dropout: `noise` says which units of `source` are kept, `output` comes out."""

    keep: float
    noise: str
    source: str
    output: str
    kept: Affine
    dropped: Affine

    @property
    def plain(self) -> bool:
        """Whether it is x/keep for kept units and 0 for dropped ones."""
        rescaled = math.isclose(self.kept.scale * self.keep, 1, rel_tol=1e-5)
        return rescaled and self.kept.shift == self.dropped.scale == self.dropped.shift == 0


def find_block(graph: GraphProto, node: NodeProto) -> Block:
    """The dropout that draws its noise from this node; raises CannotExport if it is some other randomness."""
    scalars = _scalars(graph)
    keep, noise = _threshold(graph, node, scalars)
    source, output = _ends(graph, noise, node)

    def effect(kept: float) -> Affine:
        at = [_evaluate(output, {**scalars, source: x, noise: kept}, made, node) for x in (0.0, 1.0, 3.0)]
        if not math.isclose(at[2], 3 * (at[1] - at[0]) + at[0], rel_tol=1e-5):
            raise CannotExport(f"{describe(node)}: is random, but its effect is not that of dropout")
        return Affine(at[1] - at[0], at[0])

    made = producers(graph)
    return Block(keep, noise, source, output, effect(1.0), effect(0.0))


def _scalars(graph: GraphProto) -> dict[str, float]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if np.prod(tensor.dims) == 1}
    return {name: decimal(array.item()) for name, array in arrays.items() if array.dtype.kind in "fiub"}


def decimal(value: float) -> float:
    """The shortest decimal of a float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def _threshold(graph: GraphProto, node: NodeProto, scalars: Mapping[str, float]) -> tuple[float, str]:
    """Probability to keep and name of the tensor that tells what is kept: uniform noise below a constant."""
    following = readers(graph, node.output[0])
    bounds = {attribute.name: attribute.f for attribute in node.attribute}
    ordinary = (bounds.get("low", 0), bounds.get("high", 1)) == (0, 1)
    if ordinary and [reader.op_type for reader in following] == ["Less"]:
        uniform, limit = following[0].input
        if uniform == node.output[0] and limit in scalars:
            return scalars[limit], following[0].output[0]
    raise CannotExport(f"{describe(node)}: is random, but is not dropout")


def _ends(graph: GraphProto, noise: str, node: NodeProto) -> tuple[str, str]:
    """What goes in where the noise first meets data, and what comes out where it last does."""
    weights = {tensor.name for tensor in graph.initializer}
    pure, meetings = {noise}, []
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
    """The value of a tensor of one element."""
    if name in values:
        return values[name]
    origin = made.get(name)
    if origin is None or origin.op_type not in ARITHMETIC:
        what = describe(origin) if origin else f"tensor {name!r}"
        raise CannotExport(f"{describe(node)}: is random and meets {what}, which no dropout has")
    return ARITHMETIC[origin.op_type](*(_evaluate(each, values, made, node) for each in origin.input))
