"""What torch's exporters write for training, imported, answers as the torch module does with the same masks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.engine.engine import Engine
from service.engine.masks import MaskCache, draw_masks
from service.engine.sampling import Sampling
from service.loading.load import load_model
from service.model.manifest import Manifest
from tests.training.example_networks import CASES, Case, Mlp
from tests.training.onnx_files import dynamo_export, script_export
from training.errors import CannotExport, VerificationFailed
from training.exporting.reference import TorchReference
from training.importing.publishing import publish_onnx
from training.publish.release import publish_module

PASSES, SEED = 5, 11


class Images(nn.Sequential):
    """Convolutions with batch normalisation, and dropout of units; no view that names the number of rows."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(36, 5),
        )
        nn.init.uniform_(self[1].running_var, 0.5, 2.0)  # type: ignore[arg-type]


class Pair(nn.Module):
    """Numbers and words; dropout on one of them, and where they meet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 5), nn.Embedding(9, 5)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(5, 2)

    def forward(self, numbers: Tensor, words: Tensor) -> Tensor:
        met: Tensor = self.drop(torch.tanh(self.left(numbers))) * self.right(words).mean(1)
        answer: Tensor = self.head(self.drop(met))
        return answer


def images() -> Case:
    return Images(), (torch.randn(6, 1, 8, 8),)


def pair() -> Case:
    return Pair(), (torch.randn(6, 4), torch.randint(0, 9, (6, 3)))


SCRIPT: dict[str, tuple[Callable[[], Case], int]] = {
    "mlp, opset 13": (CASES["mlp with BatchNorm"], 13),
    "images, opset 13": (images, 13),
    "pair, opset 17": (pair, 17),
    "transformer, opset 17": (CASES["transformer, rows first"], 17),
    "class token, opset 17": (CASES["class token"], 17),
    "stochastic depth, opset 17": (CASES["stochastic depth"], 17),
}
DYNAMO: dict[str, Callable[[], Case]] = {
    name: CASES[name] for name in ("mlp with BatchNorm", "cnn", "alpha", "lstm", "shared", "attention weights")
} | {"pair": pair}

ROWS_AXES = {"lstm": (1, 0)}
"""Between its layers time comes first."""


def names_of(example: tuple[Tensor, ...]) -> tuple[str, ...]:
    return ("input",) if len(example) == 1 else ("numbers", "words")


def imported(file: Path, example: tuple[Tensor, ...], models: Path) -> tuple[Engine, Manifest]:
    folder, manifest = publish_onnx(file, [tensor.numpy() for tensor in example], name="net", models=models)
    return load_model(folder, MaskCache(2**20)), manifest


def assert_answers_as(
    engine: Engine, module: nn.Module, example: tuple[Tensor, ...], rows_axes: Sequence[int] = ()
) -> None:
    """Through the engine, with the masks of a seed; and torch, which knows nothing of the file, with the same."""
    manifest, reference = engine.manifest, TorchReference(module)
    inputs = {spec.name: tensor.numpy() for spec, tensor in zip(manifest.inputs, example, strict=True)}
    np.testing.assert_allclose(engine.predict(inputs).values, reference.predict(example), rtol=1e-5, atol=1e-5)
    masks = [draw_masks(SEED, i, site.p, site.shape, 0, PASSES) for i, site in enumerate(manifest.sites)]
    assert [site.p for site in manifest.sites] == pytest.approx([1 - draw.keep for draw in reference.draws(example)])
    wanted = reference.sample(example, masks, rows_axes or [0] * len(masks))
    assert np.ptp(wanted, axis=0).max() > 0.01
    np.testing.assert_allclose(engine.draw_all(inputs, Sampling(PASSES, SEED)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", SCRIPT)
def test_the_older_exporter(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, opset = SCRIPT[case]
    module, example = make()
    file = script_export(module, example, tmp_path / "net.onnx", opset=opset, names=names_of(example))
    engine, manifest = imported(file, example, tmp_path / "models")
    assert_answers_as(engine, module, example)
    assert manifest.training["opset"] == opset
    assert manifest.training["producer"] == f"pytorch {torch.__version__.split('+')[0]}"


@pytest.mark.parametrize("case", DYNAMO)
def test_the_newer_exporter(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, example = DYNAMO[case]()
    file = dynamo_export(module, example, tmp_path / "net.onnx", names=names_of(example))
    assert_answers_as(imported(file, example, tmp_path / "models")[0], module, example, ROWS_AXES.get(case, ()))


def test_the_same_bits_as_of_the_module_itself(tmp_path: Path) -> None:
    """The same operators on the same weights: nothing about coming from a file changes an answer."""
    torch.manual_seed(0)
    module, example = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.25), nn.Linear(16, 3)), torch.randn(6, 6)
    folder, of_module = publish_module(module, (example,), name="module", models=tmp_path / "models")
    itself = load_model(folder, MaskCache(2**20))
    for export in (script_export, dynamo_export):
        engine, of_file = imported(export(module, (example,), tmp_path / "net.onnx"), (example,), tmp_path / "models")
        assert [(s.p, s.shape) for s in of_file.sites] == [(s.p, s.shape) for s in of_module.sites]
        inputs = {"input": example.numpy()}
        assert engine.predict(inputs).values.tobytes() == itself.predict(inputs).values.tobytes()
        answers = engine.draw_all(inputs, Sampling(PASSES, SEED))
        assert answers.tobytes() == itself.draw_all(inputs, Sampling(PASSES, SEED)).tobytes()


def test_batch_normalisation_keeps_its_statistics_only_in_evaluation_mode(tmp_path: Path) -> None:
    """Exporting for training moves them by the example's rows; it is reported, as nothing in the file shows it."""
    torch.manual_seed(0)
    module, example = Mlp(), (torch.randn(4, 6),)
    as_trained = TorchReference(module).predict(example)
    answers, said = [], list[str]()
    for keep in (True, False):
        file = script_export(module, example, tmp_path / "net.onnx", keep_statistics=keep)
        folder, _ = publish_onnx(file, example, name="net", models=tmp_path / "models", log=said.append)
        answers.append(load_model(folder, MaskCache(2**20)).predict({"input": example[0].numpy()}).values)
    np.testing.assert_allclose(answers[0], as_trained, rtol=1e-5, atol=1e-6)
    assert np.abs(answers[1] - as_trained).max() > 0.01
    assert sum("updates these with its example rows" in line for line in said) == 1


@pytest.mark.parametrize("rows", [1, 4])
def test_a_fixed_number_of_rows_is_made_free(rows: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, example = images()
    file = script_export(module.eval(), (example[0][:rows],), tmp_path / "net.onnx", free=False)
    said: list[str] = []
    folder, _ = publish_onnx(file, [example[0].numpy()], name="net", models=tmp_path / "models", log=said.append)
    assert f"import: the file takes {rows} rows at a time; it now takes any number" in said
    assert_answers_as(load_model(folder, MaskCache(2**20)), module, example)


def test_a_number_of_rows_that_is_written_all_over_the_file_is_refused(tmp_path: Path) -> None:
    module, example = CASES["class token"]()
    file = script_export(module, example, tmp_path / "net.onnx", free=False)
    with pytest.raises(
        VerificationFailed, match="the file is fixed at 4 rows, and freeing that may be the cause: export it"
    ):
        imported(file, example, tmp_path / "models")
    assert not list((tmp_path / "models").glob("*"))


def test_attention_that_lost_its_dropout_is_told(tmp_path: Path) -> None:
    """torch's newer exporter loses it; that cannot be seen in the file, only suspected."""
    module, example = CASES["transformer, rows first"]()
    said: list[str] = []
    for export in (dynamo_export, script_export):
        file = export(module, example, tmp_path / "net.onnx")
        publish_onnx(file, [example[0].numpy()], name="net", models=tmp_path / "models", log=said.append)
    assert sum("2 attentions have no dropout in the file" in line for line in said) == 1
    assert (
        sum("drops units at 6 of" in line for line in said) == sum("drops units at 8 of" in line for line in said) == 1
    )


def test_what_was_exported_for_inference_has_no_dropout(tmp_path: Path) -> None:
    example = (torch.randn(4, 6),)
    file = dynamo_export(Mlp(), example, tmp_path / "net.onnx", training=False)
    with pytest.raises(CannotExport, match=r"no active dropout .* unless they export for training"):
        imported(file, example, tmp_path / "models")
