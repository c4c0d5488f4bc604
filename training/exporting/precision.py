"""How far two runs of one network may lie apart: what rounding costs at the lowest precision in its graph.

Differences are relative to the largest output, or to 1 if that is larger.
"""

from collections.abc import Iterator

from onnx import ModelProto, TensorProto

AGREE = 1e-5
"""Between a network and its graphs, in single precision."""
EQUAL = 1e-6
"""Between two graphs, in single precision."""
EPSILONS: dict[int, float] = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
"""From 1 to the next larger number."""
AGREE_EPSILONS, EQUAL_EPSILONS = 10, 2


def may_disagree(model: ModelProto) -> float:
    """Return how far a graph may lie from the network that it was made of."""
    return max(AGREE, AGREE_EPSILONS * _epsilon(model))


def may_differ(model: ModelProto) -> float:
    """Return how far a graph may lie from another with the same weights."""
    return max(EQUAL, EQUAL_EPSILONS * _epsilon(model))


def advice(model: ModelProto) -> str:
    """Return what may be why onnxruntime cannot load a graph."""
    if TensorProto.BFLOAT16 not in _kinds(model):
        return ""
    return "; it has bfloat16, for which onnxruntime has few operators on a CPU: make it float32 first"


def _epsilon(model: ModelProto) -> float:
    return max((EPSILONS.get(kind, 0.0) for kind in _kinds(model)), default=0.0)


def _kinds(model: ModelProto) -> Iterator[int]:
    """The types that numbers come into: of weights, and of casts."""
    for tensor in model.graph.initializer:
        yield tensor.data_type
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to":
                yield attribute.i
            elif attribute.HasField("t"):
                yield attribute.t.data_type
