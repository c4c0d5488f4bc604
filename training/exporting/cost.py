"""Measure the computation of a graph for a row and pass from its shapes, which is the same on every machine."""

import math

from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from service.model.manifest import Work
from training.exporting.layout import infer_shapes

PRODUCTS = {"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU"}
"""Operators whose multiply-adds count; the cost of any other is roughly that of writing its outputs."""

Shapes = dict[str, tuple[int, ...]]


def measure_work(model: ModelProto) -> Work:
    """Return the multiply-adds of a graph for one row, in one pass if it has masks, and the bytes of all tensors it
    writes.
    """
    known = infer_shapes(model, rows=1)
    shapes = {name: tuple(size or 1 for size in shape) for name, (_, shape) in known.items()}
    shapes |= {weights.name: tuple(weights.dims) for weights in model.graph.initializer}
    written = [name for node in model.graph.node for name in node.output if name in known]
    return Work(
        multiply_adds=max(1, sum(_multiply_adds(node, shapes) for node in model.graph.node)),
        bytes=max(1, sum(math.prod(shapes[name]) * _item_size(known[name][0]) for name in written)),
    )


def _multiply_adds(node: NodeProto, shapes: Shapes) -> int:
    """Return the elements written times the products summed for each."""
    if node.op_type not in PRODUCTS or node.output[0] not in shapes:
        return 0
    written = math.prod(shapes[node.output[0]])
    weights = shapes.get(node.input[1], ())
    match node.op_type:
        case "MatMul":
            return written * (shapes.get(node.input[0]) or (1,))[-1]
        case "Gemm":
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            return written * (shapes.get(node.input[0]) or (1, 1))[0 if transposed else -1]
        case "Conv":
            return written * math.prod(weights[1:])
        case "ConvTranspose":
            return math.prod(shapes.get(node.input[0], ())) * math.prod(weights[1:])
        case _:  # recurrent: input and recurrent weights, at each step of the sequence
            steps = (shapes.get(node.input[0]) or (1,))[0]
            return steps * (math.prod(weights) + math.prod(shapes.get(node.input[2], ())))


def _item_size(kind: int) -> int:
    return 1 if kind == TensorProto.UNDEFINED else int(tensor_dtype_to_np_dtype(kind).itemsize)
