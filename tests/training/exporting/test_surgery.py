"""Surgery on graphs written by hand, as other exporters might have written them; answers are checked by arithmetic."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from service.model.runtime import Array, Graph
from training.errors import CannotExport
from training.exporting.surgery import find_sites, to_predict, to_sample

WEIGHT = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
X = np.array([[1, 2, 3], [-1, 0, 4]], dtype=np.float32)


def graph(
    body: str,
    *,
    opset: int = 18,
    inputs: str = "float[N, 3] x",
    outputs: str = "float[N, 2] y",
    weights: str = "",
    domains: str = "",
    functions: str = "",
) -> ModelProto:
    constants = "float[3, 2] w = {1, 2, 3, 4, 5, 6}" + (", " + weights if weights else "")
    text = f'<ir_version: 8, opset_import: ["": {opset}{domains}]>\n'
    return parser.parse_model(f"{text} toy ({inputs}) => ({outputs}) <{constants}> {{ {body} }} {functions}")


def run(model: ModelProto, *masks: Array, x: Array = X, optimise: bool = True) -> Array:
    session = Graph(model.SerializeToString(), optimise=optimise)
    return session.run({"x": x} | {f"mask_{i}": mask for i, mask in enumerate(masks)})


def mask(*passes: Sequence[float], shape: tuple[int, ...] | None = None) -> Array:
    array = np.array(passes, dtype=np.float32)
    return array.reshape(len(passes), 1, *(shape or array.shape[1:]))


def test_predict_is_the_graph_without_dropout() -> None:
    predict = to_predict(graph("d = Dropout(x) y = MatMul(d, w)"))
    assert [node.op_type for node in predict.graph.node] == ["MatMul"]
    np.testing.assert_allclose(run(predict), X @ WEIGHT)


def test_sample_multiplies_by_the_masks_pass_by_pass() -> None:
    sample = to_sample(graph("d = Dropout(x) y = MatMul(d, w)"))
    masks = mask([2, 0, 2], [0, 0, 2], [2, 2, 0])
    expected = np.stack([(X * m) @ WEIGHT for m in masks[:, 0]])  # (passes, rows, outputs)
    np.testing.assert_allclose(run(sample, masks), expected)
    np.testing.assert_allclose(run(sample, masks, optimise=False), expected)


def test_graph_contract() -> None:
    sample = to_sample(graph("d = Dropout(x) y = MatMul(d, w)"))
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*sample.graph.input, *sample.graph.output]
    }
    assert shapes == {"x": ["rows", 3], "mask_0": ["passes", 1, 3], "y": ["passes", "rows", 2]}


@pytest.mark.parametrize(
    ("opset", "node", "weights", "p"),
    [
        (7, "Dropout <ratio = 0.25> (x)", "", 0.25),
        (9, "Dropout(x)", "", 0.5),
        (11, "Dropout <ratio = 0.1> (x)", "", 0.1),
        (12, "Dropout(x, r)", "float r = {0.3}", 0.3),
        (13, "Dropout(x)", "", 0.5),
        (18, "Dropout(x, r, t)", "float r = {0.2}, bool t = {1}", 0.2),
        (22, "Dropout(x, r)", "float r = {0.75}", 0.75),
    ],
)
def test_every_opset_states_the_ratio_in_its_own_way(opset: int, node: str, weights: str, p: float) -> None:
    model = graph(f"d = {node} y = MatMul(d, w)", opset=opset, weights=weights)
    (site,) = find_sites(model)
    assert (site.kind, site.p, site.shape) == ("dropout", p, (3,))
    np.testing.assert_allclose(run(to_predict(model)), X @ WEIGHT)
    masks = mask([0, 1, 1 / (1 - p)])
    np.testing.assert_allclose(run(to_sample(model), masks)[0], (X * masks[0]) @ WEIGHT, rtol=1e-6)


def test_ratio_from_a_constant_node() -> None:
    model = graph("r = Constant <value_float = 0.4> () d = Dropout(x, r) y = MatMul(d, w)")
    assert [site.p for site in find_sites(model)] == [0.4]


def test_dropout_without_effect_is_no_site() -> None:
    model = graph("e = Dropout(x, zero) d = Dropout(e) y = MatMul(d, w)", weights="float zero = {0}")
    assert len(find_sites(model)) == 1
    np.testing.assert_allclose(run(to_predict(model)), X @ WEIGHT)


def test_sites_come_in_the_order_of_execution_with_their_own_masks() -> None:
    model = graph("a = Dropout(x) b = MatMul(a, w) c = Relu(b) y = Dropout(c)")
    assert [site.shape for site in find_sites(model)] == [(3,), (2,)]
    one, two = mask([1, 0, 2], [2, 2, 0]), mask([2, 0], [1, 2])
    expected = np.stack([np.maximum((X * one[t]) @ WEIGHT, 0) * two[t] for t in range(2)])
    np.testing.assert_allclose(run(to_sample(model), one, two), expected)
    np.testing.assert_allclose(run(to_predict(model)), np.maximum(X @ WEIGHT, 0))


def test_dropout_from_input_to_output() -> None:
    model = graph("y = Dropout(x)", outputs="float[N, 3] y")
    np.testing.assert_allclose(run(to_predict(model)), X)
    masks = mask([2, 0, 2], [0, 2, 0])
    np.testing.assert_allclose(run(to_sample(model), masks), X * masks)


def test_what_no_mask_reaches_runs_once_per_row() -> None:
    model = graph("h = MatMul(x, w) r = Relu(h) y = Dropout(r)")
    product = next(node for node in to_sample(model).graph.node if node.op_type == "MatMul")
    assert list(product.input) == ["x", "w"]


def test_skip_connections_are_repeated_for_every_pass() -> None:
    model = graph("d = Dropout(x) s = Add(d, x) y = MatMul(s, w)")
    masks = mask([2, 0, 2], [0, 2, 0])
    np.testing.assert_allclose(run(to_sample(model), masks), np.stack([(X * m + X) @ WEIGHT for m in masks[:, 0]]))


def test_shapes_taken_from_the_input_become_those_of_the_longer_batch() -> None:
    model = graph(
        "d = Dropout(x) s = Shape(x) n = Gather(s, zero) k = Concat <axis = 0> (n, three, one) "
        "r = Reshape(d, k) f = Flatten(r) z = Expand(unit, s) q = Mul(f, z) y = MatMul(q, w)",
        weights="int64[1] zero = {0}, int64[1] one = {1}, int64[1] three = {3}, float unit = {2}",
    )
    masks = mask([2, 0, 2], [0, 2, 0])
    np.testing.assert_allclose(run(to_sample(model), masks), np.stack([(2 * X * m) @ WEIGHT for m in masks[:, 0]]))


def test_shapes_that_inference_gives_up_on_are_computed() -> None:
    """Products of vectors are such; here with the attributes of an old opset."""
    model = graph(
        "s = Shape(x) m = Gather(s, one) p = Mod(m, seven) q = Mul(p, one) e = Unsqueeze <axes = [0]> (q) "
        "f = Squeeze <axes = [0]> (e) k = Concat <axis = 0> (any, f) r = Reshape(x, k) d = Dropout(r) y = MatMul(d, w)",
        opset=11,
        weights="int64[1] any = {-1}, int64[1] one = {1}, int64[1] seven = {7}",
    )
    assert [site.shape for site in find_sites(model)] == [(3,)]
    masks = mask([2, 0, 2])
    np.testing.assert_allclose(run(to_sample(model), masks)[0], (X * masks[0]) @ WEIGHT)


def test_rows_behind_another_axis() -> None:
    model = graph("t = Transpose(x) d = Dropout(t) b = Transpose(d) y = MatMul(b, w)")
    (site,) = find_sites(model)
    assert (site.shape, site.layout.axis) == ((3,), 1)
    masks = mask([2, 0, 2], [0, 2, 0])
    np.testing.assert_allclose(run(to_sample(model), masks), np.stack([(X * m) @ WEIGHT for m in masks[:, 0]]))


def test_rows_inside_an_axis() -> None:
    """(3, rows) flattened is 3 x rows: the mask has one entry for each of the three."""
    model = graph(
        "t = Transpose(x) f = Reshape(t, flat) d = Dropout(f) e = Reshape(d, back) "
        "a = Add(e, t) b = Transpose(a) y = MatMul(b, w)",
        weights="int64[1] flat = {-1}, int64[2] back = {3, -1}",
    )
    (site,) = find_sites(model)
    assert (site.shape, site.layout.major) == ((3,), 3)
    masks = mask([2, 0, 2], [0, 2, 0])
    np.testing.assert_allclose(run(to_sample(model), masks), np.stack([(X * m + X) @ WEIGHT for m in masks[:, 0]]))


NOISE = "n = RandomUniformLike(x) l = Less(n, keep) c = Cast <to = 1> (l) "


def test_noise_that_is_multiplied_is_dropout() -> None:
    model = graph(NOISE + "k = Div(c, keep) d = Mul(x, k) y = MatMul(d, w)", weights="float keep = {0.8}")
    (site,) = find_sites(model)
    assert (site.kind, site.p, site.shape) == ("dropout", 0.2, (3,))
    np.testing.assert_allclose(run(to_predict(model)), X @ WEIGHT)
    masks = mask([1.25, 0, 1.25])
    np.testing.assert_allclose(run(to_sample(model), masks)[0], (X * masks[0]) @ WEIGHT, rtol=1e-6)


def test_noise_with_any_other_affine_effect() -> None:
    """Kept units become 3x + 1, dropped ones 1 + 5; a mask of ones leaves them as they are."""
    body = NOISE + "k = Mul(c, three) m = Mul(x, k) i = Sub(one, c) j = Mul(i, five) s = Add(j, one) d = Add(m, s) "
    weights = "float keep = {0.75}, float one = {1}, float three = {3}, float five = {5}"
    model = graph(body + "y = MatMul(d, w)", weights=weights)
    (site,) = find_sites(model)
    assert (site.kind, site.p) == ("alpha", 0.25)
    masks = mask([1, 0, 4 / 3])
    dropped = np.stack([X[:, 0], np.full(2, 6), 3 * X[:, 2] + 1], axis=1)
    np.testing.assert_allclose(run(to_sample(model), masks)[0], dropped @ WEIGHT, rtol=1e-6)


def test_functions_of_the_model_are_looked_into() -> None:
    function = '<domain: "own", opset_import: ["": 18]> drop (a) => (b) { b = Dropout(a) }'
    model = graph("d = own.drop(x) y = MatMul(d, w)", domains=', "own": 1', functions=function)
    assert len(find_sites(model)) == 1
    np.testing.assert_allclose(run(to_predict(model)), X @ WEIGHT)


def test_weights_among_the_inputs_are_no_inputs() -> None:
    model = graph("d = Dropout(x) y = MatMul(d, w)", opset=9)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2]))
    assert [value.name for value in to_sample(model).graph.input] == ["x", "mask_0"]


def test_double_precision_masks_are_cast() -> None:
    model = graph("d = Dropout(x) y = Neg(d)", inputs="double[N, 3] x", outputs="double[N, 3] y")
    masks = mask([2, 0, 2])
    np.testing.assert_allclose(run(to_sample(model), masks, x=X.astype(np.float64)), -X * masks)


def test_metadata_and_stale_shapes_are_gone_and_the_original_is_untouched() -> None:
    model = graph("d = Dropout(x) y = MatMul(d, w)")
    model.doc_string = model.graph.node[0].doc_string = "/home/someone/model.py"
    helper.set_model_props(model, {"trace": "/home/someone"})
    model.graph.value_info.append(helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, ["N", 3]))
    before = model.SerializeToString()
    for made in (to_predict(model), to_sample(model)):
        assert b"someone" not in made.SerializeToString()
        assert not made.graph.value_info
    assert model.SerializeToString() == before


BRANCH = helper.make_graph(
    [helper.make_node("Neg", ["x"], ["b"])], "branch", [], [helper.make_empty_tensor_value_info("b")]
)


def with_control_flow() -> ModelProto:
    model = graph("d = Dropout(x) y = MatMul(d, w)", weights="bool yes = {1}")
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=BRANCH, else_branch=BRANCH))
    return model


def with_everything_dropped() -> ModelProto:
    model = graph("d = Dropout(x, r) y = MatMul(d, w)")
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, dtype=np.float32), "r"))
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: graph("y = MatMul(x, w)"), "no active dropout"),
        (lambda: graph("d = Dropout(x) e = Relu(d) y = MatMul(x, w)"), "no active dropout"),
        (
            lambda: graph("d, m = Dropout(x) c = Cast <to = 1> (m) e = Mul(d, c) y = MatMul(e, w)"),
            "mask output is used",
        ),
        (lambda: graph("s = Sigmoid(x) b = Bernoulli(s) y = MatMul(b, w)"), "Bernoulli node 'b'"),
        (lambda: graph("n = RandomNormalLike(x) s = Add(x, n) y = MatMul(s, w)"), "RandomNormalLike node 'n'"),
        (lambda: graph("n = RandomUniformLike(x) s = Add(x, n) y = MatMul(s, w)"), "is random, but is not dropout"),
        (
            lambda: graph(
                NOISE + "a = Mul(x, c) e = Exp(a) d = Mul(e, c) y = MatMul(d, w)", weights="float keep = {0.8}"
            ),
            "is combined with Exp node 'e'",
        ),
        (
            lambda: graph(
                NOISE + "a = Mul(x, c) q = Mul(a, x) d = Add(q, c) y = MatMul(d, w)", weights="float keep = {0.8}"
            ),
            "effect is not that of dropout",
        ),
        (
            lambda: graph(
                NOISE + "a = Mul(x, c) b = Add(x, c) d = Mul(a, b) y = MatMul(d, w)", weights="float keep = {0.8}"
            ),
            "used for something other than dropout",
        ),
        (with_control_flow, "If node 'z': control flow"),
        (with_everything_dropped, "its p is 1.0"),
        (
            lambda: graph("d = Dropout(x, r) y = MatMul(d, w)", inputs="float[N, 3] x, float r"),
            "ratio must be a constant",
        ),
        (lambda: graph("d = Dropout(x) y = MatMul(d, w)", inputs="float[2, 3] x"), "fixed number of rows"),
        (lambda: graph("d = Dropout(w) y = MatMul(x, d)"), "'w' is the same for all rows"),
        (lambda: graph("d = Dropout(x) y = Relu(d)", inputs="float[N, M] x", outputs="float[N, M] y"), "is unknown"),
        (lambda: graph("d = Dropout(x) y = MatMul(d, w)", opset=6), "opset 6"),
        (
            lambda: graph("d = Dropout(x) y = MatMul(d, w) z = Neg(d)", outputs="float[N, 2] y, float[N, 3] z"),
            "one output",
        ),
        (lambda: graph("d = Dropout(x) y = Transpose(d)", outputs="float[3, N] y"), "first axis must be the rows"),
        (lambda: graph("d = Dropout(mask_0) y = Neg(d)", inputs="float[N, 2] mask_0"), "'mask_0': names that begin"),
    ],
)
def test_refusals_name_the_node_and_the_reason(model: object, reason: str) -> None:
    assert callable(model)
    made = model()
    with pytest.raises(CannotExport, match=reason):
        to_sample(made)
