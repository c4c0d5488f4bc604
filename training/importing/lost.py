"""Suspect dropout that an exporter has lost."""

from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto

from training.exporting.graphs import producers, readers
from training.exporting.sites import module_path

LEAVES_WEIGHTS = {"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
"""Operators allowed between a softmax and its product with the values; Where hides keys from a query."""
COMPARES = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
"""Comparisons of dropout that is written as arithmetic."""
PRODUCTS = {"Einsum", "MatMul"}
"""Operators of matrix products."""


def lost_attention(model: ModelProto) -> list[str]:
    """Return a warning of attention weights without dropout, which some exporters lose."""
    plain = list(_without_dropout(model.graph))
    if not plain:
        return []
    names = ", ".join(module_path(node, node.name) for node in plain)
    return [
        f"warning: {len(plain)} attentions have no dropout in the file ({names}); if the network has some there, its"
        " exporter lost it, as torch's newer one does; dynamo=False keeps it, and so does publishing the torch module"
        " itself"
    ]


def _without_dropout(graph: GraphProto) -> Iterator[NodeProto]:
    made = producers(graph)
    for node in graph.node:
        fused = node.op_type == "Attention"
        if fused or (node.op_type == "Softmax" and _meets_values(graph, node.output[0], made)):
            yield node


def _meets_values(graph: GraphProto, weights: str, made: Mapping[str, NodeProto]) -> bool:
    """Return whether a softmax is a factor of a matrix product without dropout in between."""
    for reader in readers(graph, weights):
        if reader.op_type in PRODUCTS:
            return True
        if _leaves(reader, weights, made) and _meets_values(graph, reader.output[0], made):
            return True
    return False


def _leaves(node: NodeProto, weights: str, made: Mapping[str, NodeProto]) -> bool:
    if node.op_type == "Where":
        condition = made.get(node.input[0])
        return weights in node.input[1:] and (condition is None or condition.op_type not in COMPARES)
    return node.op_type in LEAVES_WEIGHTS
