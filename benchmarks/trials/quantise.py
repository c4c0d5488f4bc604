"""A sample graph whose sampled layers multiply 8-bit integers: u8 activations, s8 weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from service.model.runtime import Array, Graph

MOST_U8, MOST_S8 = 255, 127
Feeds = Mapping[str, Array]


class Layer(NamedTuple):
    """What takes the place of a Gemm."""

    nodes: Sequence[NodeProto]
    constants: Sequence[TensorProto]


def dynamic(model: ModelProto) -> ModelProto:
    """Activations are scaled by the least and the largest of a whole run, which the graph looks for each time."""
    return _replace(
        model,
        {
            gemm.output[0]: _layer(
                model, gemm, helper.make_node("DynamicQuantizeLinear", [gemm.input[0]], _scaled(gemm))
            )
            for gemm in _sampled(model)
        },
    )


def fixed(model: ModelProto, seen: Feeds) -> ModelProto:
    """Activations, none below 0, are scaled by the largest that these feeds made; larger ones are cut off."""
    layers = {}
    for gemm in _sampled(model):
        x, scale, zero = _scaled(gemm)
        largest = Graph(_with_output(model, gemm.input[0]).SerializeToString()).run(seen).max()
        constants = [
            numpy_helper.from_array(np.array(largest / MOST_U8, dtype=np.float32), scale),
            numpy_helper.from_array(np.array(0, dtype=np.uint8), zero),
        ]
        layer = _layer(model, gemm, helper.make_node("QuantizeLinear", [gemm.input[0], scale, zero], [x]))
        layers[gemm.output[0]] = Layer(layer.nodes, [*layer.constants, *constants])
    return _replace(model, layers)


def by_row(model: ModelProto) -> ModelProto:
    """Activations, none below 0, are scaled by the largest of each row and pass."""
    layers = {}
    for gemm in _sampled(model):
        (y,), (x, scale, zero) = gemm.output, _scaled(gemm)
        nodes = [
            helper.make_node("ReduceMax", [gemm.input[0], f"{y}/last_axis"], [f"{y}/row_max"]),
            helper.make_node("Max", [f"{y}/row_max", f"{y}/tiny"], [f"{y}/row"]),
            helper.make_node("Div", [gemm.input[0], f"{y}/row"], [f"{y}/shares"]),
            helper.make_node("QuantizeLinear", [f"{y}/shares", scale, zero], [x]),
            _product(gemm, f"{y}/product"),
            helper.make_node("Mul", [f"{y}/product", f"{y}/row"], [f"{y}/scaled"]),
            helper.make_node("Add", [f"{y}/scaled", gemm.input[2]], [y]),
        ]
        values = {
            f"{y}/last_axis": np.array([-1]),
            f"{y}/tiny": np.array(np.finfo(np.float32).tiny),
            scale: np.array(1 / MOST_U8, dtype=np.float32),
            zero: np.array(0, dtype=np.uint8),
        }
        constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
        layers[y] = Layer(nodes, [*_weights(model, gemm.input[1]), *constants])
    return _replace(model, layers)


def _sampled(model: ModelProto) -> list[NodeProto]:
    """All Gemm but the first, which comes before the first dropout."""
    return [node for node in model.graph.node if node.op_type == "Gemm"][1:]


def _scaled(gemm: NodeProto) -> list[str]:
    return [f"{gemm.output[0]}/{part}" for part in ("u8", "scale", "zero")]


def _product(gemm: NodeProto, output: str, *bias: str) -> NodeProto:
    """By an operator of onnxruntime's own, to which it also fuses MatMulInteger and what comes after it."""
    w, (x, x_scale, x_zero) = gemm.input[1], _scaled(gemm)
    inputs = [x, f"{w}/s8", x_scale, f"{w}/scale", x_zero, f"{w}/zero", *bias]
    return helper.make_node("MatMulIntegerToFloat", inputs, [output], domain="com.microsoft")


def _layer(model: ModelProto, gemm: NodeProto, quantise: NodeProto) -> Layer:
    product = _product(gemm, gemm.output[0], gemm.input[2])
    return Layer([quantise, product], list(_weights(model, gemm.input[1])))


def _weights(model: ModelProto, name: str) -> Iterator[TensorProto]:
    """(units, inputs) as s8 (inputs, units), with a scale and a zero for each unit."""
    (weight,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
    scale = np.abs(weight).max(axis=1) / np.float32(MOST_S8)
    integers = np.rint(weight / scale[:, None]).astype(np.int8)
    yield numpy_helper.from_array(np.ascontiguousarray(integers.T), f"{name}/s8")
    yield numpy_helper.from_array(scale, f"{name}/scale")
    yield numpy_helper.from_array(np.zeros(len(scale), dtype=np.int8), f"{name}/zero")


def _replace(model: ModelProto, layers: Mapping[str, Layer]) -> ModelProto:
    """A copy with these layers in place of the nodes with their outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = [
        new for old in model.graph.node for new in (layers[old.output[0]].nodes if old.output[0] in layers else [old])
    ]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    copy.graph.initializer.extend(constant for layer in layers.values() for constant in layer.constants)
    copy.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return copy


def _with_output(model: ModelProto, name: str) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return copy
