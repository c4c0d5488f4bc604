"""`dropserve import`, from files to a published model, and what it says when it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from service.engine.masks import MaskCache
from service.loading.load import load_model
from service.model.manifest import LearnedNoise, Noise, read_manifest
from tests.training.importing.test_import_torch import pair
from tests.training.onnx_files import saved, script_export, two_layers
from training.cli import app
from training.data import Choices
from training.data.split import equal_rows
from training.flags import flag
from training.importing.data import load_labelled, split_labelled, with_labels
from training.importing.request import ImportRequest

KINDS = ("setosa", "versicolor", "virginica")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)], env={"COLUMNS": "200"})


def blobs(rows: int, seed: int) -> tuple[Any, Any]:
    """Three classes around three points."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, rows)
    return (np.eye(3)[classes] * 2 + rng.normal(size=(rows, 3))).astype(np.float32), classes


def table(file: Path, inputs: Any, truth: Any, target: str = "kind") -> Path:
    lines = [",".join([*(f"{value:.6f}" for value in row), str(t)]) for row, t in zip(inputs, truth, strict=True)]
    file.write_text("\n".join([f"a,b,c,{target}", *lines]))
    return file


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained, with a Softmax at its end; its outputs are in another order than the alphabet's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
    inputs, classes = (torch.from_numpy(array) for array in blobs(400, 0))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), 2 - classes).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    file = tmp_path_factory.mktemp("trained") / "iris net.onnx"
    return script_export(nn.Sequential(net, nn.Softmax(1)), (inputs[:3],), file)


def test_with_labels_and_data_everything_is_there(classifier: Path, tmp_path: Path) -> None:
    inputs, classes = blobs(600, 1)
    data = table(tmp_path / "held.csv", inputs, np.array(KINDS)[classes])
    result = run(
        classifier, "--labels", "virginica,versicolor,setosa", "--data", data, "--target", "kind",
        "--models", tmp_path / "m", "--passes", "20", "--description", "Three kinds.",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "was in training mode" not in result.output
    assert "Softmax: removed from the end" in result.output.replace("'", "")
    assert "data: held.csv, test_rows 240, calibration_rows 240, validation_rows 120" in result.output
    assert "is not calibrated" not in result.output
    folder = tmp_path / "m" / "iris-net" / "1"
    assert f"Published {folder}." in result.output
    manifest = load_model(folder, MaskCache(2**20)).manifest
    assert manifest.labels == ("virginica", "versicolor", "setosa")
    assert manifest.features == ("a", "b", "c")
    assert manifest.evaluation["deterministic"]["accuracy"] > 0.8
    assert manifest.temperature != 1
    assert [quantile.coverage for quantile in manifest.conformal] == [0.8, 0.9, 0.95, 0.99]
    assert manifest.training["imported"] == "iris net.onnx"
    assert manifest.training["data"] == "held.csv"
    assert manifest.training_data is None
    card = (folder / "MODEL_CARD.md").read_text()
    assert "iris net.onnx" in card
    assert "pytorch" in card
    assert str(tmp_path) not in card


def test_without_data_it_is_published_and_says_what_is_missing(classifier: Path, tmp_path: Path) -> None:
    result = run(classifier, "--labels", "c,b,a", "--name", "bare", "--models", tmp_path / "m")
    assert result.exit_code == 0, result.output
    assert "no rows were given: 17 random rows are used" in result.output
    assert "The model is not calibrated or evaluated; --data FILE does both." in result.output
    manifest = read_manifest(tmp_path / "m" / "bare" / "1")
    assert (manifest.temperature, manifest.conformal, manifest.evaluation) == (1, (), {})


def test_classes_of_the_data_are_labels_where_none_are_given(classifier: Path, tmp_path: Path) -> None:
    inputs, classes = blobs(300, 1)
    data = table(tmp_path / "held.csv", inputs, np.array(["x", "y", "z"])[2 - classes])
    result = run(classifier, "--data", data, "--target", "kind", "--models", tmp_path / "m", "--passes", "20")
    assert "labels: the outputs are assumed to be x, y, z, in this order; --labels sets another" in result.output
    manifest = read_manifest(tmp_path / "m" / "iris-net" / "1")
    assert manifest.labels == ("x", "y", "z")
    assert manifest.evaluation["deterministic"]["accuracy"] > 0.8


def test_labels_in_another_order_than_the_outputs_are_suspected(classifier: Path, tmp_path: Path) -> None:
    inputs, classes = blobs(300, 1)
    data = table(tmp_path / "held.csv", inputs, np.array(KINDS)[classes])
    for labels, warned in (("virginica,versicolor,setosa", False), ("versicolor,setosa,virginica", True)):
        result = run(
            classifier,
            "--labels",
            labels,
            "--data",
            data,
            "--target",
            "kind",
            "--models",
            tmp_path / "m",
            "--passes",
            "9",
        )
        assert result.exit_code == 0, result.output
        assert ("check that the labels are in the order of its outputs" in result.output) == warned


def test_a_regression_with_data(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
    file = script_export(net, (torch.randn(4, 3),), tmp_path / "net.onnx", opset=13)
    inputs = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    with torch.no_grad():
        truth = net.eval()(torch.from_numpy(inputs)).numpy()[:, 0] + np.random.default_rng(1).normal(size=400) / 2
    data = table(tmp_path / "held.csv", inputs, truth, target="price")
    result = run(file, "--data", data, "--target", "price", "--models", tmp_path / "m", "--passes", "20")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "m" / "net" / "1")
    assert (manifest.task, manifest.labels) == ("regression", ())
    assert isinstance(manifest.noise, Noise)
    assert 0.3 < manifest.noise.std < 0.7
    assert 0.4 < manifest.evaluation["deterministic"]["rmse"] < 0.7


class WithNoise(nn.Module):
    """A mean and a standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        mean, raw = self.body(rows).split(1, 1)
        return torch.cat([mean, nn.functional.softplus(raw) + 0.1], 1)


def test_learned_noise_other_rows_and_what_was_seen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = script_export(WithNoise(), (torch.randn(4, 3),), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 3)).round(3)
    data = table(tmp_path / "held.csv", inputs, rng.normal(size=400), target="price")
    others = table(tmp_path / "far.csv", rng.normal(size=(50, 3)) + 50, rng.normal(size=50), target="price")
    asked = (file, "--data", data, "--target", "price", "--models", tmp_path / "m", "--passes", "20")
    result = run(*asked, "--noise", "learned", "--others", others)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "m" / "net" / "1")
    assert isinstance(manifest.noise, LearnedNoise)
    assert manifest.answers == 1
    assert any(name.startswith("auroc_other_") for name in manifest.evaluation["mc"])
    assert manifest.training["others"] == "far.csv"
    np.testing.assert_allclose([seen.median for seen in manifest.seen], np.median(inputs, axis=0), atol=1e-6)
    assert [seen.highest for seen in manifest.seen] == pytest.approx(inputs.max(axis=0))


def test_outputs_that_are_no_deviations_are_no_learned_noise(tmp_path: Path) -> None:
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(model, "--task", "regression", "--noise", "learned", "--models", tmp_path / "m")
    assert result.exit_code == 1, result.output
    assert "noise: learned means that the outputs are means and then as many standard deviations" in result.stderr


def test_several_inputs_by_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, example = pair()
    file = script_export(module, example, tmp_path / "net.onnx", names=("numbers", "words"))
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "words": rng.integers(0, 9, (200, 3)),
        "numbers": rng.normal(size=(200, 4)).astype(np.float32),
    }
    np.savez(tmp_path / "rows.npz", **arrays)
    np.savez(tmp_path / "held.npz", **arrays, targets=rng.integers(0, 2, 200))
    for number, source in enumerate((("--rows", "rows.npz"), ("--data", "held.npz")), start=1):
        more = ("--others", tmp_path / "rows.npz") if source[0] == "--data" else ()
        result = run(
            file,
            "--labels",
            "no,yes",
            source[0],
            tmp_path / source[1],
            *more,
            "--models",
            tmp_path / "m",
            "--passes",
            "9",
        )
        assert result.exit_code == 0, result.output
        assert "random numbers" not in result.output
        manifest = load_model(tmp_path / "m" / "net" / str(number), MaskCache(2**20)).manifest
        assert [(spec.name, spec.dtype) for spec in manifest.inputs] == [("numbers", "float32"), ("words", "int64")]
        assert ("auroc_other_entropy" in manifest.evaluation.get("mc", {})) == (source[0] == "--data")


@pytest.mark.parametrize("kind", ["csv", "csv without names", "npy", "npz"])
def test_rows_to_verify_with(kind: str, tmp_path: Path) -> None:
    rows, file = np.random.default_rng(0).normal(size=(9, 3)).round(3), tmp_path / f"rows.{kind[:3]}"
    lines = "\n".join(",".join(map(str, row)) for row in rows)
    match kind[:3]:
        case "csv":
            file.write_text(lines if kind.endswith("names") else f"a,b,c\n{lines}")
        case "npy":
            np.save(file, rows)
        case "npz":
            np.savez(file, whatever=rows)
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(model, "--task", "regression", "--rows", file, "--models", tmp_path / "m")
    assert result.exit_code == 0, result.output
    engine = load_model(tmp_path / "m" / "net" / "1", MaskCache(2**20))
    np.testing.assert_array_equal(engine.examples["x"], rows[:8].astype(np.float32))


def test_no_row_is_in_two_parts_and_own_test_rows_stand_alone(tmp_path: Path) -> None:
    inputs, classes = blobs(90, 0)
    twice: dict[str, Any] = {"x": np.concatenate([inputs, inputs]), "targets": np.concatenate([classes, classes])}
    np.savez(tmp_path / "twice.npz", **twice)
    labelled = load_labelled(str(tmp_path / "twice.npz"), Choices(), ["x"])
    parts = split_labelled(labelled, seed=0)
    groups = [
        {row.tobytes() for row in np.asarray(part.inputs[0])}
        for part in (parts.test, parts.calibration, parts.validation)
    ]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 90
    assert sum(parts.counts.values()) == 180
    np.savez(tmp_path / "own.npz", x_train=inputs, y_train=classes, x_test=inputs[:60] + 1, y_test=classes[:60])
    own = split_labelled(load_labelled(str(tmp_path / "own.npz"), Choices(), ["x"]), seed=0)
    assert sum(own.counts.values()) == 60
    assert len(np.unique(equal_rows(np.asarray(own.test.inputs[0])))) == own.counts["test_rows"]
    seen = np.concatenate([np.asarray(part.inputs[0]) for part in (own.test, own.calibration, own.validation)])
    assert {row.tobytes() for row in seen} == {row.tobytes() for row in inputs[:60] + 1}


def test_own_test_rows_that_equal_training_rows_are_left_out(tmp_path: Path) -> None:
    """They are what the network learned; the others stay, those that equal one another too."""
    inputs, classes = blobs(90, 0)
    fresh, same = np.concatenate([inputs + 1, inputs[:9] + 1]), inputs[30:50]
    np.savez(
        tmp_path / "own.npz", x_train=inputs, y_train=classes,
        x_test=np.concatenate([fresh, same]), y_test=np.concatenate([classes, classes[:9], classes[30:50]]),
    )  # fmt: skip
    parts = split_labelled(load_labelled(str(tmp_path / "own.npz"), Choices(), ["x"]), seed=0)
    assert (parts.left_out, sum(parts.counts.values())) == (20, 99)
    kept = np.concatenate([np.asarray(part.inputs[0]) for part in (parts.test, parts.calibration, parts.validation)])
    assert {row.tobytes() for row in kept} == {row.tobytes() for row in inputs + 1}
    result = run(
        saved(two_layers(), tmp_path / "net.onnx"), "--labels", "0,1,2", "--data", tmp_path / "own.npz", "--models",
        tmp_path / "m",
    )  # fmt: skip
    assert "20 of the source's own test rows left out that equal one of its training rows" in result.output


@pytest.mark.parametrize(("labels", "wanted"), [("c,a,b", [1, 2, 0]), ("x,y,z", [0, 1, 2])])
def test_classes_get_the_networks_numbers(labels: str, wanted: list[int], tmp_path: Path) -> None:
    """By name; or by number, where the data has numbers."""
    inputs, classes = blobs(90, 0)
    names = np.array(["a", "b", "c"])[classes] if labels == "c,a,b" else classes
    np.savez(tmp_path / "held.npz", x=inputs, targets=names)
    labelled = with_labels(load_labelled(str(tmp_path / "held.npz"), Choices(), ["x"]), labels.split(","))
    np.testing.assert_array_equal(labelled.data.targets, np.array(wanted)[classes])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "the file does not state what its outputs are: name the classes with --labels A,B, or use",
        ),
        (["--labels", "a,b", "--task", "regression"], "--labels: a regression has none"),
        (["--labels", "a,b", "--name", "a/b"], "--name: expected at most 100 letters"),
        (["--labels", "a,,b"], "--labels: "),
        (["--labels", "a,b", "--passes", "1"], "--passes: must be greater than or equal to 2"),
        (["--labels", "a,b", "--target", "t"], "--target and --ignore are for columns of --data FILE"),
        (["--labels", "a,b", "--others", "o.csv"], "--others: is compared with the rows of --data FILE"),
        (["--labels", "a,b", "--noise", "learned"], "--noise: is for regressions, and --labels"),
        (["--task", "guessing"], "--task: must be 'auto', 'classification' or 'regression'"),
        (["--lables", "a,b"], "--labels"),
    ],
)
def test_a_usage_error_is_a_sentence_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run(saved(two_layers(), tmp_path / "net.onnx"), *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("none.npy", "none.npy: cannot be read: No such file or directory"),
        ("words.csv", "words.csv: line 2, column 3 (c): expected a number, found 'three'"),
        ("words.npy", "words.npy: is not an NPY file"),
        ("other.npz", "expected arrays named as the network's inputs, x; found: a, b"),
        ("rows.txt", "expected a file of rows, .npy, .npz, .csv, .jsonl or .parquet"),
        ("wide.npy", "input 'x': takes rows of 3; the rows given are of 4"),
        ("text.npy", "expected numbers; found <U1"),
        ("empty.npy", "expected as many rows for each input, at least one"),
        ("number.npy", "expected as many rows for each input, at least one"),
        ("nan.npy", "nan.npy: x: row 2 has nan; expected finite numbers"),
        ("named.npy", "named.npy: is not an NPY file, but NPZ, which has arrays by name"),
        ("plain.npz", "plain.npz: is not an NPZ file, but NPY, which has one array without a name"),
    ],
)
def test_rows_that_cannot_be_read_are_a_sentence_and_exit_code_1(rows: str, message: str, tmp_path: Path) -> None:
    for name in ("words.csv", "words.npy", "rows.txt"):
        (tmp_path / name).write_text("a,b,c\n1,2,three\n")
    np.savez(tmp_path / "other.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(tmp_path / "wide.npy", np.ones((3, 4)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    np.save(tmp_path / "number.npy", np.float32(3))
    np.save(tmp_path / "nan.npy", np.array([[1, 2, 3], [1, np.nan, 3]]))
    (tmp_path / "named.npy").write_bytes((tmp_path / "other.npz").read_bytes())
    (tmp_path / "plain.npz").write_bytes((tmp_path / "wide.npy").read_bytes())
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(model, "--task", "regression", "--rows", tmp_path / rows, "--models", tmp_path / "m")
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not list((tmp_path / "m").glob("*"))


@pytest.mark.parametrize(
    ("columns", "truth", "labels", "message"),
    [
        ("a,b", "kind", "no,yes", "input 'x': takes rows of 3; the rows given are of 2"),
        ("a,b,c", "kind", "no,maybe", "has a class 'yes'; expected no, maybe, or their numbers from 0"),
        (
            "a,b,town",
            "kind",
            "no,yes",
            "town hold texts, whose numbers for the network are not in its file",
        ),
    ],
)
def test_data_that_does_not_fit_is_a_sentence(
    columns: str, truth: str, labels: str, message: str, tmp_path: Path
) -> None:
    rng, names = np.random.default_rng(0), columns.split(",")
    cells = {name: rng.normal(size=60).astype(str) for name in names} | {"kind": np.array(["no", "yes"] * 30)}
    if "town" in cells:
        cells["town"] = np.array(["Bonn", "Trier"] * 30)
    lines = [",".join(row) for row in zip(*cells.values(), strict=True)]
    (tmp_path / "held.csv").write_text("\n".join([",".join(cells), *lines]))
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(
        model, "--labels", labels, "--data", tmp_path / "held.csv", "--target", truth, "--models", tmp_path / "m"
    )
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert not list((tmp_path / "m").glob("*"))


CLASSES = np.random.default_rng(3).integers(0, 2, 60)
ONE_HOT = np.eye(2, dtype=np.float32)[CLASSES]
NO_CLASSES = (
    "targets: expected the class of each row, of shape (60,); found shape (60, 2): use the argmax of one column"
)
NO_TARGETS = "targets: expected 60 classes, of shape (60,), or values, (60, outputs); found"


@pytest.mark.parametrize(
    ("targets", "flags", "message"),
    [
        (ONE_HOT, ["--labels", "no,yes"], NO_CLASSES),
        (ONE_HOT, [], NO_CLASSES),
        (ONE_HOT + 0.5, ["--labels", "no,yes"], NO_CLASSES),
        (np.float32(1), ["--labels", "no,yes"], f"{NO_TARGETS} float32 of shape ()"),
        (ONE_HOT[:, :, None], [], f"{NO_TARGETS} float32 of shape (60, 2, 1)"),
        (CLASSES[:50], ["--labels", "no,yes"], f"{NO_TARGETS} int64 of shape (50,)"),
        (np.where(np.arange(60) == 7, np.inf, CLASSES), [], "targets: row 8 has inf; expected finite numbers"),
    ],
)
def test_targets_that_do_not_fit_are_a_sentence(targets: Any, flags: list[str], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "held.npz", x=np.random.default_rng(0).normal(size=(60, 3)), targets=targets)
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(model, *flags, "--data", tmp_path / "held.npz", "--models", tmp_path / "m")
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not list((tmp_path / "m").glob("*"))


def test_values_that_look_like_classes_are_values_where_that_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "held.npz", x=np.random.default_rng(0).normal(size=(60, 3)), targets=ONE_HOT)
    model = saved(two_layers(), tmp_path / "net.onnx")
    result = run(
        model, "--task", "regression", "--data", tmp_path / "held.npz", "--models", tmp_path / "m", "--passes", "9"
    )
    assert result.exit_code == 0, result.output
    assert "rmse" in read_manifest(tmp_path / "m" / "net" / "1").evaluation["mc"]


def test_help_explains_every_flag() -> None:
    text = run("--help").output
    for key, field in ImportRequest.model_fields.items():
        if key != "file":
            assert flag(key) in text
            assert str(field.description).split(",")[0][:40] in text
    assert "Examples: dropserve import net.onnx" in text
