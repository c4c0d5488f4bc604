"""Files from anywhere: Dropout in every way that ONNX ever had of writing it, and files that cannot be served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from service.engine.engine import Engine
from service.engine.masks import MaskCache, draw_masks
from service.engine.sampling import Sampling
from service.errors import DropserveError
from service.loading.load import load_model
from tests.training.onnx_files import RNG, WEIGHTS, by_arithmetic, node, saved, two_layers
from training.errors import CannotExport, TrainingError, VerificationFailed
from training.importing.publishing import publish_onnx

X = RNG.normal(size=(6, 3)).astype(np.float32)
HALF, TRUE, FALSE = (np.array(value) for value in (np.float32(0.5), True, False))
QUARTER, ZERO, ONE = (np.array(value, dtype=np.float32) for value in (0.25, 0, 1))
PASSES, SEED = 4, 5
LABELS = ("no", "yes")


def served(model: ModelProto, folder: Path, rows: Any = (X,), **options: Any) -> Engine:
    published, _ = publish_onnx(saved(model, folder / "net.onnx"), rows, name="net", models=folder / "m", **options)
    return load_model(published, MaskCache(2**20))


def assert_drops(engine: Engine, p: float, sites: int = 1) -> None:
    """Through the engine, with the masks of a seed: what arithmetic says."""
    assert [(site.p, site.shape) for site in engine.manifest.sites] == [(p, (8,))] * sites
    name = engine.manifest.inputs[0].name
    np.testing.assert_allclose(engine.predict({name: X}).values, by_arithmetic(X), rtol=1e-5)
    masks = [draw_masks(SEED, i, p, (8,), 0, PASSES)[:, 0] for i in range(sites)]  # each (passes, 8)
    wanted = [by_arithmetic(X, *(mask[number] for mask in masks)) for number in range(PASSES)]
    answers = engine.draw_all({name: X}, Sampling(PASSES, SEED))
    np.testing.assert_allclose(answers, wanted, rtol=1e-4, atol=1e-6)


def with_late_ratio(model: ModelProto) -> ModelProto:
    """As exporters of IR version 3 have it: the constant is listed among the inputs, too."""
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


WAYS: dict[str, tuple[Callable[[], ModelProto], float]] = {
    "attribute, opset 7": (lambda: two_layers("d = Dropout <ratio = 0.25> (h)", opset=7), 0.25),
    "attribute and a mask that nobody reads, opset 10": (
        lambda: two_layers("d, m = Dropout <ratio = 0.25> (h)", opset=10),
        0.25,
    ),
    "default, opset 11": (lambda: two_layers(opset=11), 0.5),
    "input, opset 12": (lambda: two_layers("d = Dropout (h, r)", opset=12, r=QUARTER), 0.25),
    "training mode, opset 13": (lambda: two_layers("d = Dropout (h, r, t)", opset=13, r=QUARTER, t=TRUE), 0.25),
    "not in training mode, opset 22": (lambda: two_layers("d = Dropout (h, r, t)", opset=22, r=HALF, t=FALSE), 0.5),
    "training mode and a mask that nobody reads": (
        lambda: two_layers("d, m = Dropout <seed = 3> (h, r, t)", r=QUARTER, t=TRUE),
        0.25,
    ),
    "training mode as an input of the graph": (
        lambda: two_layers("d = Dropout (h, r, t)", more_inputs=", bool t", r=QUARTER),
        0.25,
    ),
    "turned off by `deterministic`, as JAX has it": (
        lambda: two_layers("t = Not (off) d = Dropout (h, r, t)", more_inputs=", bool off", r=QUARTER),
        0.25,
    ),
    "turned on by a number, in an axis, by detours": (
        lambda: two_layers(
            "z = Constant <value_ints = [0]> () a = Identity (on) b = Cast <to = 9> (a) c = Squeeze (b, z)"
            " e = Not (c) t = Not (e) d = Dropout (h, r, t)",
            more_inputs=", int64[1] on",
            r=QUARTER,
        ),
        0.25,
    ),
    "a switch that something else reads, too": (
        lambda: two_layers(
            "t = Not (off) c = Dropout (h, r, t) k = Constant <value_float = 9.0> () e = Mul (c, k)"
            " d = Where (off, c, e)",
            more_inputs=", bool off",
            r=QUARTER,
        ),
        0.25,
    ),
    "ratio from a Constant": (
        lambda: two_layers("r = Constant <value_float = 0.25> () d = Dropout (h, r)"),
        0.25,
    ),
    "constants among the inputs": (lambda: with_late_ratio(two_layers("d = Dropout (h, r)", r=QUARTER)), 0.25),
    "a ratio of 0 beside it": (lambda: two_layers("e = Dropout (h, z) d = Dropout (e)", z=ZERO), 0.5),
    "opset 6, converted": (
        lambda: two_layers("d = Dropout <ratio = 0.25, is_test = 0> (h)", opset=6),
        0.25,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_writing_dropout(way: str, tmp_path: Path) -> None:
    make, p = WAYS[way]
    assert_drops(served(make(), tmp_path), p)


def in_half(p: float) -> ModelProto:
    """Weights and hidden layer in half precision, as converters write it: numbers are cast on the way in and out."""
    model = two_layers(
        end="z = MatMul (d, v) y = Cast <to = 1> (z)",
        dropout="d = Dropout (h, r)",
        weights={name: weight.astype(np.float16) for name, weight in WEIGHTS.items()},
        r=np.array(p, dtype=np.float16),
    )
    node(model, "MatMul").input[0] = "x16"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16))
    return model


@pytest.mark.parametrize("p", [0.5, 0.3, 0.1])
def test_half_precision_is_held_to_what_it_can_tell(p: float, tmp_path: Path) -> None:
    engine = served(in_half(p), tmp_path)
    np.testing.assert_allclose(engine.predict({"x": X}).values, by_arithmetic(X), atol=0.02)
    masks = draw_masks(SEED, 0, engine.manifest.sites[0].p, (8,), 0, PASSES)[:, 0]
    wanted = [by_arithmetic(X, mask) for mask in masks]
    np.testing.assert_allclose(engine.draw_all({"x": X}, Sampling(PASSES, SEED)), wanted, atol=0.05)
    [file] = tmp_path.rglob("golden.npz")
    with np.load(file) as golden:
        assert golden["tolerance"] == 10 * 2.0**-10  # another processor rounds otherwise


def test_an_opset_that_the_oldest_onnxruntime_lacks_is_converted_or_told(tmp_path: Path) -> None:
    """1.20 loads up to 21, and IR version 10."""
    said: list[str] = []
    model = two_layers(opset=25)
    model.ir_version = 12
    engine = served(model, tmp_path, log=said.append)
    assert_drops(engine, 0.5)
    graphs = [onnx.load(tmp_path / "m" / "net" / "1" / name) for name in ("predict.onnx", "sample.onnx")]
    assert {(graph.ir_version, graph.opset_import[0].version) for graph in graphs} == {(10, 21)}
    assert "import: opset 25: converted to 21" in said
    assert sum("relative difference" in line and "untouched" in line for line in said) == 1
    scaled = two_layers("n = RMSNormalization (h, s) d = Dropout (n)", opset=23, s=np.ones(8, dtype=np.float32))
    served(scaled, tmp_path, log=said.append)
    assert (
        sum("warning: opset 23 cannot be converted to 21, the newest that onnxruntime 1.20" in li for li in said) == 1
    )


def test_attention_without_dropout_is_told_behind_a_mask_too(tmp_path: Path) -> None:
    """A masked softmax is followed by what gives a query without keys no weight."""
    weights = "q = Reshape (x, s) k = Transpose <perm = [0, 2, 1]> (q) e = MatMul (q, k) share = Softmax <axis = 2> (e)"
    masked = "i = IsNaN (share) o = Constant <value_float = 0.0> () m = Where (i, o, share)"
    shape = np.array([0, 3, 1], dtype=np.int64)
    for between, shown in ((masked, 1), ("m = Identity (share)", 1), ("m = Dropout (share)", 0)):
        said: list[str] = []
        attended = f"{weights} {between} a = MatMul (m, q) b = Flatten (a) g = MatMul (b, w2) d = Dropout (g)"
        model = two_layers(attended, s=shape, w2=WEIGHTS["w"])
        served(model, tmp_path, log=said.append)
        assert sum("1 attentions have no dropout in the file (share)" in line for line in said) == shown


def test_no_name_of_a_foreign_file_breaks_the_card(tmp_path: Path) -> None:
    model = two_layers()
    node(model, "Dropout").name = "drop|one`\n\n# Two <b>three</b> [four](http://five) \\"
    model.producer_name = "pro|ducer`s\n| --- |"
    published, _ = publish_onnx(saved(model, tmp_path / "net.onnx"), [X], name="net", models=tmp_path / "m")
    card = (published / "MODEL_CARD.md").read_text()
    name = r"drop\|one\` # Two \<b>three\</b> \[four](http://five) \\"
    assert f"| `mask_0` | {name} | dropout | 0.5 | 8 |\n" in card
    assert r"| producer | pro\|ducer\`s \| --- \| |" in card


def test_two_places_of_dropout(tmp_path: Path) -> None:
    assert_drops(served(two_layers("e = Dropout (h) d = Dropout (e)"), tmp_path), 0.5, sites=2)


def test_weights_in_another_file_of_the_folder(tmp_path: Path) -> None:
    model = two_layers()
    convert_model_to_external_data(model, location="net.onnx.data", size_threshold=0)
    onnx.save_model(model, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size >= WEIGHTS["w"].nbytes + WEIGHTS["v"].nbytes
    published, manifest = publish_onnx(tmp_path / "net.onnx", [X], name="net", models=tmp_path / "m")
    assert manifest.training["imported"] == "net.onnx"
    assert_drops(load_model(published, MaskCache(2**20)), 0.5)


def test_a_softmax_at_the_end_is_taken_off_and_the_probabilities_stay(tmp_path: Path) -> None:
    said: list[str] = []
    steps = "z = MatMul (d, v) u = Unsqueeze (z, two) s = Softmax <axis = 1> (u) y = Squeeze (s, two)"
    for end in (
        "z = MatMul (d, v) y = Softmax (z)",
        "z = MatMul (d, v) s = Softmax <axis = 1> (z) y = Identity (s)",
        f"two = Constant <value_ints = [2]> () {steps}",
    ):
        engine = served(two_layers(end=end), tmp_path, labels=LABELS, log=said.append)
        probabilities = engine.predict({"x": X}).values
        np.testing.assert_allclose(probabilities, by_arithmetic(X, logits=False), rtol=1e-5)
    assert sum("removed from the end" in line for line in said) == 3


def test_log_probabilities_become_the_same_probabilities(tmp_path: Path) -> None:
    engine = served(two_layers(end="z = MatMul (d, v) y = LogSoftmax (z)"), tmp_path, labels=LABELS)
    np.testing.assert_allclose(engine.predict({"x": X}).values, by_arithmetic(X, logits=False), rtol=1e-5)


def test_a_regression_keeps_its_softmax_and_is_asked_whether_it_is_one(tmp_path: Path) -> None:
    said: list[str] = []
    engine = served(two_layers(end="z = MatMul (d, v) y = Softmax (z)"), tmp_path, log=said.append)
    assert sum("warning: the outputs look like probabilities" in line for line in said) == 1
    np.testing.assert_allclose(engine.predict({"x": X}).values, by_arithmetic(X, logits=False), rtol=1e-5)


def test_batch_normalisation_uses_its_running_statistics(tmp_path: Path) -> None:
    """Mean 0 and variance 4, of which ε is a hundred-thousandth: everything is divided by 2."""
    names = "scale, bias, mean, variance"
    ones, zeros = np.ones(8, dtype=np.float32), np.zeros(8, dtype=np.float32)
    constants: dict[str, Any] = {"scale": ones, "bias": zeros, "mean": zeros, "variance": 4 * ones}
    said: list[str] = []
    for opset, training in ((13, ""), (15, "<training_mode = 1>")):
        more = ", a, b" + ", c, e" * (opset == 13)
        model = two_layers(
            f"n{more} = BatchNormalization {training} (h, {names}) d = Dropout (n)", opset=opset, **constants
        )
        engine = served(model, tmp_path, log=said.append)
        np.testing.assert_allclose(engine.predict({"x": X}).values, by_arithmetic(X) / 2, rtol=1e-4)
    assert sum("now uses its running statistics" in line for line in said) == 2
    assert sum("not compared: BatchNormalization node 'n' is in training mode" in line for line in said) == 2


def test_what_the_file_leaves_open_is_as_in_the_rows(tmp_path: Path) -> None:
    model = two_layers(rows="N")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    assert served(model, tmp_path).manifest.inputs[0].shape == (3,)
    with pytest.raises(CannotExport, match=r"input 'x': its axis 1 has no fixed size in the file; give --rows"):
        served(model, tmp_path, rows=())
    with pytest.raises(CannotExport, match="input 'x': takes rows of 3; the rows given are of 4"):
        served(two_layers(), tmp_path, rows=(np.zeros((2, 4)),))
    with pytest.raises(CannotExport, match="rows: expected 1 arrays, one for each input of the file; found 2"):
        served(two_layers(), tmp_path, rows=(X, X))


def test_without_rows_random_ones_stand_for_them_and_it_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    engine = served(two_layers(), tmp_path, rows=(), log=said.append)
    assert "import: no rows were given: 17 random rows are used, also for the golden answers" in said
    assert_drops(engine, 0.5)


def changed(change: Callable[[ModelProto], object]) -> Callable[[], ModelProto]:
    def make() -> ModelProto:
        model = two_layers()
        change(model)
        return model

    return make


def foreign(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[1].domain = "com.example"


def unknown(model: ModelProto) -> None:
    model.graph.node[1].op_type = "NoSuchOperator"


def second_output(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 8]))


def in_double(model: ModelProto) -> ModelProto:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


def three_axes(model: ModelProto) -> ModelProto:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 1]))
    return model


def without_opset(model: ModelProto) -> None:
    del model.opset_import[:]


def without_first_node(model: ModelProto) -> None:
    del model.graph.node[0]


def without_weight(model: ModelProto) -> None:
    del model.graph.initializer[0]


def sequence_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None))


def no_output(model: ModelProto) -> None:
    del model.graph.output[:]


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "no output": (changed(no_output), "must have one output; the file has none"),
    "two ratios": (
        lambda: two_layers("d = Dropout (h, r)", r=np.array([0.1, 0.2], np.float32)),
        "one number; it has 2",
    ),
    "an opset that nobody knows": (lambda: two_layers(opset=99), "the file is of opset 99; the newest that is known"),
    "no dropout": (lambda: two_layers("d = Identity (h)"), "no active dropout"),
    "only ratio 0": (lambda: two_layers("d = Dropout (h, z)", z=ZERO), "no active dropout"),
    "ratio 1": (lambda: two_layers("d = Dropout (h, z)", z=ONE), "its p is 1.0"),
    "ratio from outside": (lambda: two_layers("d = Dropout (h, r)", more_inputs=", float r"), "ratio must be a const"),
    "its mask is read": (
        lambda: two_layers("e, m = Dropout (h) c = Cast <to = 1> (m) d = Mul (e, c)"),
        "its mask output is used",
    ),
    "two outputs": (changed(second_output), "must have one output; the file has 2: 'y', 'h'"),
    "another type": (
        lambda: in_double(two_layers(end="z = MatMul (d, v) y = Cast <to = 11> (z)")),
        "output 'y': must be float32, which is served; it is double",
    ),
    "another shape": (
        lambda: three_axes(
            two_layers(
                "s = Constant <value_ints = [-1, 2, 1]> () d = Dropout (h)", end="z = MatMul (d, v) y = Reshape (z, s)"
            )
        ),
        r"output 'y': must be of shape \(rows, outputs\); it has 3 dimensions",
    ),
    "batch statistics": (
        lambda: two_layers("b = ReduceMean <axes = [0], keepdims = 1> (h) c = Sub (h, b) d = Dropout (c)"),
        "a row's answer does not depend on the rows beside it: a relative difference",
    ),
    "foreign operator": (changed(foreign), "Relu node 'h': is an operator of 'com.example'; only those of ONNX"),
    "unknown operator": (changed(unknown), "is not valid ONNX: No Op registered for NoSuchOperator"),
    "no opset": (changed(without_opset), "is not valid ONNX|names no version"),
    "a node is missing": (changed(without_first_node), "is not valid ONNX: .* however input 'p' of node: .*Relu"),
    "a weight is missing": (changed(without_weight), "is not valid ONNX"),
    "text in a Constant": (
        lambda: two_layers('s = Constant <value_string = "a"> () d = Dropout (h)'),
        "its value_string is not supported",
    ),
    "fixed at a shape that is written down": (
        lambda: two_layers(
            "s = Constant <value_ints = [2, 4, 2]> () q = Reshape (h, s) t = Constant <value_ints ="
            " [2, 8]> () u = Expand (h, t) d = Dropout (u)",
            rows="2",
        ),
        "the file is fixed at 2 rows, and freeing that may be the cause",
    ),
}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: two_layers(more_inputs=", string[N] s"), "input 's': string is not served; it must be one of float32"),
        (changed(sequence_input), "input 'q': a sequence is not served; it must be one of float32"),
        (
            lambda: two_layers("k = Cast <to = 16> (h) e = Dropout (k) d = Cast <to = 1> (e)"),
            "it has bfloat16, for which onnxruntime has few operators on a CPU",
        ),
    ],
)
def test_types_that_are_not_served(make: Callable[[], ModelProto], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match=reason):
        served(make(), tmp_path, rows=())


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_with_the_reason_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    with pytest.raises((CannotExport, VerificationFailed), match=reason):
        served(make(), tmp_path)
    assert not list((tmp_path / "m").glob("*"))


@pytest.mark.parametrize(
    "end",
    [
        "z = MatMul (d, v) e = Exp (z) s = ReduceSum <keepdims = 1> (e, one) y = Div (e, s)",
        "z = MatMul (d, v) t = Transpose (z) s = Softmax <axis = 0> (t) y = Transpose (s)",
    ],
)
def test_probabilities_that_no_softmax_makes_at_the_end_are_taken_for_what_they_are(end: str, tmp_path: Path) -> None:
    said: list[str] = []
    engine = served(two_layers(end=end, one=np.array([1])), tmp_path, labels=LABELS, log=said.append)
    np.testing.assert_allclose(engine.predict({"x": X}).values, by_arithmetic(X, logits=False), rtol=1e-5)
    assert sum("warning: the outputs are probabilities" in line for line in said) == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("z = MatMul (d, v) y = Sigmoid (z)", "Sigmoid node 'y': the network ends in a sigmoid"),
        ("z = MatMul (d, v) s = Sigmoid (z) y = Identity (s)", "Sigmoid node 's': the network ends in a sigmoid"),
        (
            "z = MatMul (d, v) y = Softmax <axis = 0> (z)",
            "Softmax node 'y': the network ends in a softmax over another",
        ),
    ],
)
def test_a_classification_needs_logits(end: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match=reason):
        served(two_layers(end=end), tmp_path, labels=LABELS)


def test_as_many_labels_as_outputs(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="labels names 3 classes, but the output has 2"):
        served(two_layers(), tmp_path, labels=("a", "b", "c"))


GOOD = two_layers().SerializeToString()
BROKEN: dict[str, tuple[bytes | None, str]] = {
    "no such file": (None, "cannot be read: No such file or directory"),
    "empty": (b"", "is not an ONNX file, or one without a graph"),
    "text": (b"these are words, no model\n" * 9, "is not an ONNX file"),
    "half of it": (GOOD[: len(GOOD) // 2], "is not an ONNX file, or only a part of one"),
    "all but the end": (GOOD[:-1], "is not an ONNX file, or only a part of one"),
    "noise": (np.random.default_rng(0).bytes(5000), "is not an ONNX file"),
    "zip": (b"PK\x03\x04" + bytes(200), "is not an ONNX file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_onnx_file_is_told(case: str, tmp_path: Path) -> None:
    content, reason = BROKEN[case]
    if content is not None:
        (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(CannotExport, match=rf"net\.onnx: .*{reason}"):
        publish_onnx(tmp_path / "net.onnx", name="net", models=tmp_path / "m")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="cannot be read: Is a directory"):
        publish_onnx(tmp_path, name="net", models=tmp_path / "m")


def external(location: str, **entries: int) -> bytes:
    model = two_layers()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=str(value))
    return model.SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        external("gone.bin"),
        external("../secret.bin"),
        external("/etc/passwd"),
        external("short.bin", offset=0, length=96),
    ],
)
def test_weights_elsewhere_are_missing_cut_or_forbidden(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(96))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "short.bin").write_bytes(bytes(5))
    (folder / "net.onnx").write_bytes(content)
    with pytest.raises(CannotExport, match=r"net\.onnx: (keeps weights in another file, which cannot be|is no valid)"):
        publish_onnx(folder / "net.onnx", name="net", models=tmp_path / "m")


def test_no_damage_of_a_byte_is_more_than_a_refusal(tmp_path: Path) -> None:
    """Whatever a changed byte makes of the file: it is refused with a reason, or published and verified."""
    rng, file, reasons = np.random.default_rng(1), tmp_path / "net.onnx", []
    for place in rng.choice(len(GOOD), 60, replace=False):
        content = bytearray(GOOD)
        content[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        try:
            publish_onnx(file, [X], name="net", models=tmp_path / "m")
        except DropserveError as error:
            reasons.append(error.message)
    assert reasons
    assert all(reasons)
