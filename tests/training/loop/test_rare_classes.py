"""A class of one row in a hundred: the warning of a network that never recognises it, and weights that mend that."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner, Result

from service.model.manifest import read_manifest
from training.cli import app
from training.config import TrainConfig
from training.data import Choices, Part, load_data
from training.loop.class_weights import absent_classes, balanced
from training.loop.loss import Loss

QUICK = ("--epochs", "10", "--passes", "8", "--hidden", "16", "--device", "cpu")


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2000 rows, 20 of which are of the second class: those where a + b, not quite exactly known, is largest."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2000)).round(3)
    ranks = (a + b + rng.normal(size=2000)).argsort().argsort()
    file = tmp_path_factory.mktemp("rare") / "rare.csv"
    lines = [f"{x},{y},{'yes' if rank >= 1980 else 'no'}" for x, y, rank in zip(a, b, ranks, strict=True)]
    file.write_text("\n".join(["a,b,found", *lines]))
    return file


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments), *QUICK], env={"COLUMNS": "300"})


def test_a_class_that_is_never_recognised_is_a_warning_everywhere(rare: Path, tmp_path: Path) -> None:
    result = train("--data", rare, "--target", "found", "--models", tmp_path)
    assert result.exit_code == 0, result.output
    warnings = ("not shown to be better than chance; always answering 'no'", "recall 0, so never recognised: 'yes' (4 ")
    manifest = read_manifest(tmp_path / "rare" / "1")
    card = (tmp_path / "rare" / "1" / "MODEL_CARD.md").read_text()
    for warning, stated in zip(warnings, manifest.warnings, strict=True):
        assert warning in stated
        assert f"warning: {stated}" in result.output
        assert f"- **Warning:** {stated}." in card
    assert [of.rows for of in manifest.class_figures] == [396, 4]
    assert "| yes | 4 | 0.0100 | 0.0000 | 0.0000 |" in card
    assert "--class-weights balanced" in result.output
    assert manifest.class_weights == ()
    assert "| accuracy | 0.9900 | 0.9900 | 0.9900 |" in card


def test_balanced_weights_recognise_it_and_say_what_probabilities_mean(rare: Path, tmp_path: Path) -> None:
    result = train("--data", rare, "--target", "found", "--models", tmp_path, "--class-weights", "balanced")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "rare" / "1")
    assert manifest.class_figures[1].recall["deterministic"] > 0.7
    assert manifest.warnings == ()
    assert manifest.class_weights == pytest.approx((1000 / 2 / 990, 1000 / 2 / 10), rel=0.02)
    assert manifest.training["class_weights"] == "balanced"
    figures = manifest.evaluation["deterministic"]
    assert figures["ece_weighted"] < 0.2
    card = (tmp_path / "rare" / "1" / "MODEL_CARD.md").read_text()
    assert "probabilities do not hold at the classes' own frequencies" in card
    assert f"| yes | {manifest.class_weights[1]:.6g} |" in card


def test_a_regression_has_no_classes_to_weigh(rare: Path, tmp_path: Path) -> None:
    result = train("--data", rare, "--target", "a", "--models", tmp_path, "--class-weights", "balanced")
    assert result.exit_code == 1
    assert "class_weights: balanced is for classes, and rare.csv is a regression; use none" in result.stderr


def test_weights_are_those_of_scikit_learn_and_the_loss_is_a_mean_over_all_rows() -> None:
    targets = np.repeat([0, 1, 2], [7, 2, 1])
    weights = balanced(targets, 3)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=targets))
    assert np.isfinite(balanced(targets, 4)).all()
    answers, truth = torch.randn(10, 3), torch.from_numpy(targets)
    loss = Loss(TrainConfig(), None, rows=10, class_weights=torch.tensor(weights, dtype=torch.float32))
    whole = loss.of_answers(answers, truth)
    of_rows = cross_entropy(answers, truth, reduction="none") * torch.tensor(weights)[truth]
    torch.testing.assert_close(whole, of_rows.mean().float())
    halves = [loss.of_answers(answers[half], truth[half]) for half in (slice(0, 5), slice(5, 10))]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)  # whatever classes a batch happens to have


def test_a_class_without_a_row_to_train_on_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{i / 4},{'ab'[i % 2]}\n" for i in range(40)) + "9.9,c\n")
    data = load_data(str(tmp_path / "rows.csv"), Choices("y"))
    assert list(absent_classes(data, Part(data.inputs, data.targets))) == []
    (warning,) = absent_classes(data, Part(data.inputs[:40], data.targets[:40]))
    assert warning.startswith("warning: the training part has no row of c;")
