"""What no mask reaches is left to predict.onnx, whatever the graph looks like."""

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, parser

from service.engine.masks import draw_masks
from service.engine.network import Network
from service.model.runtime import Array, Graph
from training.exporting.sharing import share_body
from training.exporting.surgery import find_sites, to_predict, to_sample

ROWS = 5
RNG = np.random.default_rng(0)


def graph(body: str, inputs: str = "float[N, 3] x", weights: str = "") -> ModelProto:
    constants = ["float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}", "float[3, 2] v = {1, -2, 3, -4, 5, -6}"]
    declared = ", ".join([*constants, *filter(None, [weights])])
    head = '<ir_version: 8, opset_import: ["": 18]>'
    return parser.parse_model(f"{head} toy ({inputs}) => (float[N, 2] y) <{declared}> {{ {body} }}")


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if not node.name.startswith("fold/")]


def names(values: Sequence[object]) -> list[str]:
    return [getattr(value, "name", "") for value in values]


def feeds_of(model: ModelProto) -> dict[str, Array]:
    found = {}
    for value in model.graph.input:
        shape = [ROWS, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])]
        found[value.name] = RNG.normal(size=shape).astype(np.float32)
    return found


GRAPHS = {
    "a layer": ("h = MatMul(x, w) d = Dropout(h) y = MatMul(d, v)", "", ["MatMul"], ["body_0", "mask_0"]),
    "a skip connection": (
        "h = MatMul(x, w) r = Relu(h) d = Dropout(r) a = Add(d, h) y = MatMul(a, v)",
        "",
        ["Add", "MatMul"],
        ["body_0", "body_1", "mask_0"],
    ),
    "a skip connection from the input": (
        "h = MatMul(x, w) d = Dropout(h) a = Add(d, x) y = MatMul(a, v)",
        "",
        ["Add", "MatMul"],
        ["x", "body_0", "mask_0"],
    ),
    "dropout of the input": ("d = Dropout(x) y = MatMul(d, v)", "", ["MatMul"], ["x", "mask_0"]),
    "two sites": (
        "h = MatMul(x, w) d = Dropout(h) a = MatMul(d, w) e = Dropout(a) y = MatMul(e, v)",
        "",
        ["MatMul", "MatMul"],
        ["body_0", "mask_0", "mask_1"],
    ),
    "rows on another axis": (  # computed by both from the tensor before, in which rows are first
        "h = MatMul(x, w) t = Transpose <perm = [1, 0]> (h) d = Dropout(t) u = Transpose <perm = [1, 0]> (d)"
        " y = MatMul(u, v)",
        "",
        ["Transpose", "Transpose", "MatMul"],
        ["body_0", "mask_0"],
    ),
    "a shape of the input": (
        "h = MatMul(x, w) d = Dropout(h) s = Shape(h) r = Reshape(d, s) y = MatMul(r, v)",
        "",
        ["Shape", "Reshape", "MatMul"],
        ["body_0", "mask_0"],
    ),
    "a constant that is computed": (
        "c = Exp(k) h = MatMul(x, w) d = Dropout(h) a = Add(d, c) y = MatMul(a, v)",
        "float[3] k = {1, 2, 3}",
        ["Exp", "Add", "MatMul"],
        ["body_0", "mask_0"],
    ),
    "names that are taken": (
        "body_0 = MatMul(x, w) g = Relu(body_0) d = Dropout(g) y = MatMul(d, v)",
        "",
        ["MatMul"],
        ["body_0_", "mask_0"],
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_both_graphs_together_answer_as_the_whole_sample_graph_does(case: str) -> None:
    body, weights, rest, taken = GRAPHS[case]
    model = graph(body, weights=weights)
    whole, feeds = to_sample(model), feeds_of(model)
    predict, sample = share_body(to_predict(model), to_sample(model))
    assert operators(sample) == rest
    assert names(sample.graph.input) == taken
    assert names(predict.graph.output) == ["y", *(name for name in taken if name.startswith("body_"))]
    masks = [draw_masks(1, i, site.p, site.shape, 0, 7) for i, site in enumerate(find_sites(model))]
    network = Network(Graph(predict.SerializeToString()), Graph(sample.SerializeToString()))
    output, begun = network.begin(feeds)
    np.testing.assert_array_equal(output, Graph(to_predict(model).SerializeToString()).run(feeds))
    np.testing.assert_array_equal(network.predict(feeds), output)
    expected = Graph(whole.SerializeToString()).run(feeds | {f"mask_{i}": mask for i, mask in enumerate(masks)})
    np.testing.assert_allclose(network.sample(begun, masks), expected, rtol=1e-6)


def test_convolutions_before_the_dropout_are_not_in_the_sample_graph() -> None:
    model = graph(
        "c = Conv <pads = [1, 1, 1, 1]> (x, k) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p)"
        " d = Dropout(f) y = MatMul(d, v)",
        inputs="float[N, 1, 8, 8] x",
        weights="float[3, 1, 3, 3] k = {" + ", ".join("1" * 27) + "}",
    )
    predict, sample = share_body(to_predict(model), to_sample(model))
    assert operators(sample) == ["MatMul"]
    assert [tensor.name for tensor in sample.graph.initializer if not tensor.name.startswith("fold/")] == ["v"]
    assert {tensor.name for tensor in predict.graph.initializer} == {"k", "v"}
