"""The largest difference of two runs of one network: the rounding at the lowest precision in its graph.

Differences are relative to the largest output, or to 1 if that is larger.
"""

from collections.abc import Iterator

from onnx import ModelProto, TensorProto

AGREE = 1e-5
"""Tolerance between a network and its graphs, in single precision."""
EQUAL = 1e-6
"""Tolerance between two graphs, in single precision."""
EPSILONS: dict[int, float] = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
"""The distance from 1 to the next larger number of lower precisions."""
AGREE_EPSILONS, EQUAL_EPSILONS = 10, 2
"""Tolerances at lower precisions, in these distances."""


def network_tolerance(model: ModelProto) -> float:
    """Return the largest difference of a graph from the network that it was made of."""
    return max(AGREE, AGREE_EPSILONS * _epsilon(model))


def graph_tolerance(model: ModelProto) -> float:
    """Return the largest difference of a graph from another with the same weights."""
    return max(EQUAL, EQUAL_EPSILONS * _epsilon(model))


def advice(model: ModelProto) -> str:
    """Return a possible reason for onnxruntime's refusal of a graph; "" without one."""
    if TensorProto.BFLOAT16 not in _kinds(model):
        return ""
    return "; it has bfloat16, for which onnxruntime has few operators on a CPU: make it float32 first"


def _epsilon(model: ModelProto) -> float:
    return max((EPSILONS.get(kind, 0.0) for kind in _kinds(model)), default=0.0)


def _kinds(model: ModelProto) -> Iterator[int]:
    """Yield the types of weights and casts."""
    for tensor in model.graph.initializer:
        yield tensor.data_type
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to":
                yield attribute.i
            elif attribute.HasField("t"):
                yield attribute.t.data_type
