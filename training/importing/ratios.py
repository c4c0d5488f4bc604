"""The ratios of a file's Dropout nodes, read from the file as it is, for others to be compared with."""

from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import get_attribute_value

from training.exporting.graphs import constants, producers, prune

DEFAULT = 0.5


def drop_ratios(model: ModelProto) -> list[float]:
    """Of each Dropout that reaches the output and drops anything, in order of execution."""
    copy = ModelProto()
    copy.CopyFrom(model)
    prune(copy.graph)
    ratios = [_ratio(copy, node) for node in copy.graph.node if node.op_type == "Dropout"]
    return [ratio for ratio in ratios if ratio]


def _ratio(model: ModelProto, node: NodeProto) -> float:
    """An attribute up to opset 11, an input since."""
    name = node.input[1] if len(node.input) > 1 else ""
    if not name:
        return next((float(attribute.f) for attribute in node.attribute if attribute.name == "ratio"), DEFAULT)
    if name in (weights := constants(model.graph)):
        return float(numpy_helper.to_array(weights[name]).item())
    value = get_attribute_value(producers(model.graph)[name].attribute[0])
    return value if isinstance(value, float) else float(numpy_helper.to_array(value).item())
