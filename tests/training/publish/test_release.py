"""From a module of one's own to a model that the service loads; anything that is wrong leaves nothing behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

from service.engine.masks import MaskCache
from service.errors import InvalidInput
from service.loading.load import load_model
from service.model.manifest import ImageRule, Manifest, Noise
from tests.training.example_networks import TwoInputs
from training.errors import CannotExport, TrainingError, VerificationFailed
from training.evidence.report import make_report
from training.evidence.rows import Rows
from training.exporting.exported import Exported
from training.publish import release
from training.publish.release import publish_module

RNG = np.random.default_rng(0)


def regressor() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 2))


def values(rows: int, *shape: int) -> Any:
    return RNG.normal(size=(rows, *shape)).astype(np.float32)


def everything_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def test_a_classifier_of_two_inputs(tmp_path: Path) -> None:
    inputs = (torch.randn(300, 4), torch.randint(0, 9, (300, 1)))
    module = TwoInputs().train()
    with torch.no_grad():
        classes = module(*inputs).argmax(1)
    parts = [
        Rows(tuple(x[start : start + 100] for x in inputs), classes[start : start + 100]) for start in (0, 100, 200)
    ]
    said: list[str] = []
    folder, manifest = publish_module(
        module,
        inputs,
        name="pair",
        models=tmp_path,
        labels=("no", "yes"),
        input_names=("left", "right"),
        validation=parts[0],
        calibration=parts[1],
        test=parts[2],
        log=said.append,
        description="Tells two kinds of pairs apart.",
        features=("a", "b"),
    )
    engine = load_model(folder, MaskCache(2**20))
    assert engine.manifest == manifest
    assert [spec.name for spec in manifest.inputs] == ["left", "right"]
    assert (manifest.task, manifest.labels, manifest.description) == (
        "classification",
        ("no", "yes"),
        "Tells two kinds of pairs apart.",
    )
    assert manifest.sampled_temperature not in (None, manifest.temperature)
    assert [quantile.coverage for quantile in manifest.conformal] == [0.8, 0.9, 0.95, 0.99]
    assert set(manifest.evaluation) == {"baseline", "deterministic", "mc"}
    assert {"reliability.svg", "risk_coverage.svg"} < set(manifest.files)
    assert len(engine.examples["left"]) == 8
    assert [line.split(":")[0] for line in said[11:]] == ["fit", "fit", "calibrate", "evaluate"]
    assert module.training


def test_a_regression(tmp_path: Path) -> None:
    module = regressor().eval()
    inputs = torch.randn(300, 3)
    with torch.no_grad():
        targets = module(inputs) + 0.3 * torch.randn(300, 2)
    parts = [Rows((inputs[i : i + 100],), targets[i : i + 100]) for i in (0, 100, 200)]
    folder, manifest = publish_module(
        module, (inputs,), name="yield", models=tmp_path, validation=parts[0], calibration=parts[1], test=parts[2]
    )
    assert (manifest.task, manifest.labels, manifest.abstention) == ("regression", (), ())
    assert isinstance(manifest.noise, Noise)
    assert 0.1 < manifest.noise.std < 0.4
    assert len(manifest.conformal) == 4
    assert {"rmse", "mae", "nll", "crps", "coverage_0.9", "auroc_noise_std"} < set(manifest.evaluation["mc"])
    card = (folder / "MODEL_CARD.md").read_text()
    assert "the answer ± the quantile" in card
    assert "softmax" not in card
    assert "| root mean square error |" in card
    assert "](predicted_and_true.svg)" in card
    load_model(folder, MaskCache(2**20))


def test_rows_in_two_parts_are_warned_of(tmp_path: Path) -> None:
    inputs, targets = torch.randn(90, 3), torch.randn(90, 2)
    one, other = Rows((inputs[:60],), targets[:60]), Rows((inputs[50:],), targets[50:])
    _, manifest = publish_module(
        regressor(), (inputs,), name="yield", models=tmp_path, calibration=one, test=other, passes=8
    )
    shared = [warning for warning in manifest.warnings if "share" in warning]
    assert shared == ["calibration and test rows share 10 rows, so that the same rows choose and measure"]


def test_arrays_and_lists_are_taken_as_tensors_are(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    rows = RNG.normal(size=(60, 3))
    _, manifest = publish_module(
        module,
        rows,
        name="plain",
        models=str(tmp_path),
        validation=Rows(rows[:20], rows[:20, 0]),
        calibration=Rows([rows[20:40]], rows[20:40, :1].tolist()),
        test=Rows(rows[40:].tolist(), rows[40:, 0].tolist()),
        others=rows + 9,
    )
    assert [(spec.dtype, spec.shape) for spec in manifest.inputs] == [("float32", (3,))]
    assert {"rmse", "auroc_other_std"} < set(manifest.evaluation["mc"])


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ([[1.0, 2.0]], "expected a tensor or array, or a tuple of one for each input; found a list"),
        (([1.0, 2.0],), "expected a tensor or array, or a tuple of one for each input; found a list"),
        (np.array([["a"]]), "expected an array of numbers; found <U1"),
    ],
)
def test_an_example_that_is_no_array_is_refused(tmp_path: Path, example: Any, reason: str) -> None:
    with pytest.raises(CannotExport, match=f"example: {reason}"):
        publish_module(regressor(), example, name="none", models=tmp_path)


class Masked(nn.Module):
    """Attention to what a mask of 0 and 1 shows; without anything to see it answers NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop, self.head = nn.Embedding(9, 4), nn.Dropout(0.3), nn.Linear(4, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        words = self.words(tokens)  # (rows, tokens, 4)
        seen = words.sum(2).masked_fill(mask == 0, -float("inf")).softmax(1)
        return self.head(self.drop((seen[:, :, None] * words).sum(1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_mask_of_ones_is_an_example(tmp_path: Path, dtype: torch.dtype) -> None:
    example = (torch.arange(24).reshape(8, 3) % 9, torch.ones(8, 3, dtype=dtype))
    folder, manifest = publish_module(
        Masked(), example, name="masked", models=tmp_path, labels=("a", "b"), input_names=("tokens", "mask")
    )
    engine = load_model(folder, MaskCache(2**20))
    assert [len(spec.ranges) for spec in manifest.inputs] == [1, 0]
    assert engine.learned.rows_are_independent
    nothing = {"tokens": np.zeros((1, 3), np.int64), "mask": np.zeros((1, 3), manifest.inputs[1].dtype)}
    with pytest.raises(InvalidInput, match="not a finite number"):
        engine.predict(nothing)


def test_what_is_not_given_is_not_said(tmp_path: Path) -> None:
    folder, manifest = publish_module(regressor(), (torch.randn(9, 3),), name="bare", models=tmp_path)
    assert (manifest.temperature, manifest.sampled_temperature, manifest.noise) == (1.0, None, None)
    assert (manifest.conformal, manifest.abstention, manifest.evaluation) == ((), (), {})
    assert "Not evaluated." in (folder / "MODEL_CARD.md").read_text()
    load_model(folder, MaskCache(2**20))


def wrong_weight(exported: Exported) -> Exported:
    """A mistake that both graphs share."""
    for model in (exported.predict, exported.sample):
        weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.01), weight.name))
    return exported


def wrong_site(exported: Exported) -> Exported:
    """Loads, and answers its golden inputs: only verification sees it."""
    return replace(exported, sites=(exported.sites[0].model_copy(update={"p": 0.1}),))


@pytest.mark.parametrize("mistake", [wrong_weight, wrong_site])
def test_a_wrong_export_leaves_nothing(mistake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "chosen_sites", lambda graph, *_: mistake(graph.exported()))
    with pytest.raises(VerificationFailed):
        publish_module(regressor(), (torch.randn(9, 3),), name="wrong", models=tmp_path)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": ("a",)}, "labels names 1 classes, but the output has 2"),
        ({"name": "a/b"}, "name: expected at most 100 letters, .*; found 'a/b'"),
        ({"validation": Rows((values(9, 4),), values(9, 2))}, r"validation: inputs\[0\]: expected 3 values, found 4"),
        ({"validation": Rows((), values(9, 2))}, "validation: inputs: expected 1 arrays, one an input; found 0"),
        (
            {"calibration": Rows((values(9, 3),), values(9))},
            r"calibration: targets: expected finite numbers of shape \(9, 2\); found float32 of shape \(9,\)",
        ),
        ({"test": Rows((values(9, 3),), values(9, 2) * np.nan)}, "test: targets: expected finite numbers"),
        (
            {"labels": ("a", "b"), "test": Rows((values(9, 3),), np.full(9, 2))},
            "test: targets: expected 9 whole numbers from 0 to 1; found int64",
        ),
        (
            {"labels": ("a", "b"), "test": Rows((values(9, 3),), np.ones(9))},
            "test: targets: expected 9 whole numbers from 0 to 1; found float64",
        ),
        ({"test": (values(9, 3), values(9, 2))}, r"test: expected Rows\(inputs, targets\); found a tuple"),
        ({"features": ("a", "b")}, "features names 2 values, but a row has 3"),
        ({"imputation": (0.0, 1.0)}, "imputation must have one entry per value of a float row, not 2"),
        ({"image": ImageRule(mode="L", resize="crop", background="#ffffff")}, "image of mode L needs a shape"),
    ],
)
def test_what_does_not_fit_is_named_and_leaves_nothing(changes: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=reason):
        publish_module(regressor(), (torch.randn(9, 3),), **({"name": "wrong", "models": tmp_path} | changes))
    assert everything_in(tmp_path) == []


def test_a_network_without_dropout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="no active dropout"):
        publish_module(nn.Linear(3, 2), (torch.randn(9, 3),), name="plain", models=tmp_path)
    assert everything_in(tmp_path) == []


def test_logits_that_are_no_log_probabilities_are_told(tmp_path: Path) -> None:
    module = regressor()
    with torch.no_grad():
        module[3].weight *= 1e5  # type: ignore[index]
    rows, said = Rows((torch.randn(200, 3),), torch.randint(0, 2, (200,))), []  # type: ignore[var-annotated]
    folder, manifest = publish_module(
        module, (torch.randn(9, 3),), name="m", models=tmp_path, labels="ab", validation=rows, log=said.append
    )
    assert [warning.partition(" lies beyond ")[0] for warning in manifest.warnings] == [
        "the best temperature",
        "the best sampled temperature",
    ]
    card = (folder / "MODEL_CARD.md").read_text()
    assert all(f"warning: {warning}" in said and warning in card for warning in manifest.warnings)


ENDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "softmax": (nn.Softmax(1), "removed from the end"),
    "functional, over an inner axis": (lambda z: F.softmax(z[:, :, None], 1).squeeze(2), "removed from the end"),
    "in double precision, of a temperature": (lambda z: F.softmax(z.double() / 2, -1).float(), "removed from the end"),
    "log-softmax": (nn.LogSoftmax(1), "removed from the end"),
    "a pair of a sigmoid": (lambda z: torch.cat([1 - z[:, :1].sigmoid(), z[:, :1].sigmoid()], 1), "warning: the outp"),
    "a mixture": (lambda z: (F.softmax(z, 1) + F.softmax(-3 * z, 1)) / 2, "warning: the outputs are probabilities"),
}


class Ended(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.end = regressor(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(x))


@pytest.mark.parametrize("end", ENDS)
def test_probabilities_are_served_as_the_network_has_them(end: str, tmp_path: Path) -> None:
    function, note = ENDS[end]
    module, rows, said = Ended(function).eval(), torch.randn(9, 3) * 3, list[str]()
    folder, _ = publish_module(module, (rows,), name="m", models=tmp_path, labels="ab", log=said.append)
    with torch.no_grad():
        wanted = module(rows).exp() if end == "log-softmax" else module(rows)
    assert sum(note in line for line in said) == 1
    engine = load_model(folder, MaskCache(2**20))
    np.testing.assert_allclose(engine.predict({"input": rows.numpy()}).values, wanted, atol=1e-6)


@pytest.mark.parametrize("end", [torch.sigmoid, lambda z: F.softmax(z, 0)])
def test_outputs_in_0_to_1_that_are_no_softmax_of_the_classes_are_refused(
    end: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    with pytest.raises(CannotExport, match=r"(Sigmoid|Softmax) node .*: the network ends in a s.* a logit for each"):
        publish_module(Ended(end), (torch.randn(9, 3),), name="m", models=tmp_path, labels="ab")
    assert everything_in(tmp_path) == []


def test_figures_are_of_what_is_served(tmp_path: Path) -> None:
    """With the temperatures of the manifest, each of its kind."""
    inputs, classes = torch.randn(400, 3), torch.randint(0, 2, (400,))
    halves = [Rows((inputs[i : i + 200],), classes[i : i + 200]) for i in (0, 200)]
    folder, manifest = publish_module(
        regressor(), (inputs,), name="m", models=tmp_path, labels="ab", validation=halves[0], test=halves[1]
    )
    assert isinstance(manifest, Manifest)
    engine = load_model(folder, MaskCache(2**20))
    report = make_report(engine, {"input": inputs[200:].numpy()}, classes[200:].numpy(), None, 100, 0)
    assert report.figures == manifest.evaluation
    assert {name: (folder / name).read_bytes() for name in report.plots} == report.plots


def test_rows_of_other_data_are_told_apart(tmp_path: Path) -> None:
    test = Rows((values(100, 3),), values(100, 2))
    far = values(50, 3) * 50  # the passes differ more where the hidden layer is larger
    options: dict[str, Any] = {"name": "m", "models": tmp_path, "test": test}
    _, manifest = publish_module(regressor(), (torch.randn(9, 3),), others=(far,), **options)
    assert 0.8 < manifest.evaluation["mc"]["auroc_other_std"] <= 1
    with pytest.raises(TrainingError, match=r"others: inputs\[0\]: expected 3 values, found 4"):
        publish_module(regressor(), (torch.randn(9, 3),), others=(values(5, 4),), **options)
