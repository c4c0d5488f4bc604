"""What an exporter may have lost; it can only be suspected."""

from onnx import ModelProto, NodeProto

from training.graphs import readers


def lost_attention(model: ModelProto) -> list[str]:
    """Whether attention weights go on without dropout, which some exporters lose."""
    weights = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    plain = [name for name in weights if any(_multiplies(node, name) for node in readers(model.graph, name))]
    if not plain:
        return []
    return [
        f"{len(plain)} attentions have no dropout in the file; if the network has some there, its exporter lost it, as"
        " torch's newer one does; dynamo=False keeps it, and so does publishing the torch module itself"
    ]


def _multiplies(node: NodeProto, weights: str) -> bool:
    return bool(node.op_type == "MatMul" and node.input[0] == weights)
