import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.loading import load_model
from service.manifest import read_manifest
from service.masks import MaskCache
from training.cli import app
from training.config import TrainConfig, flag


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("settings") / "quick.toml"
    file.write_text('hidden = [24, 16]\nepochs = 20\npasses = 20\ndevice = "cpu"\nname = "quick"')
    return file


@pytest.fixture(scope="module")
def models(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, of the same seed."""
    folder = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        result = train("--config", quick, "--models", folder, "--dropout", "0.2")
        assert result.exit_code == 0, result.output
        assert f"Published {folder}/quick/{version}." in result.output
        assert f"DROPSERVE_MODELS={folder} python -m service serve" in result.output
    return folder


def test_the_published_model_is_what_was_asked_for(models: Path) -> None:
    engine = load_model(models / "quick" / "1", MaskCache(2**20))
    manifest = engine.manifest
    assert [(site.name, site.p, site.shape) for site in manifest.sites] == [
        ("dropout_1", 0.2, (24,)),
        ("dropout_2", 0.2, (16,)),
    ]
    assert manifest.training["epochs"] == 20
    assert manifest.training_data is not None
    assert (manifest.training_data.name, manifest.training_data.rows) == ("digits", 1797)
    assert set(manifest.libraries) == {"python", "torch", "onnx", "onnxruntime", "numpy", "scikit-learn"}
    assert [quantile.coverage for quantile in manifest.conformal] == [0.8, 0.9, 0.95, 0.99]
    assert str(models) not in (models / "quick" / "1" / "manifest.json").read_text()


def test_figures_of_the_test_part_are_those_of_a_network_that_learned(models: Path) -> None:
    evaluation = read_manifest(models / "quick" / "1").evaluation
    for kind in ("deterministic", "mc"):
        assert 0.9 < evaluation[kind]["accuracy"] <= 1
        assert 0 < evaluation[kind]["nll"] < 0.5
    assert evaluation["mc"]["mutual_information"] > 0


def test_the_same_seed_gives_the_same_files(models: Path) -> None:
    once, again = (read_manifest(models / "quick" / version).files for version in ("1", "2"))
    for name in ("predict.onnx", "sample.onnx"):
        assert once[name] == again[name]


def test_help_explains_every_setting() -> None:
    text = train("--help").output
    for key, field in TrainConfig.model_fields.items():
        assert flag(key) in text
        assert str(field.description).split(",")[0][:40] in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "many"], "--epochs: must be a valid integer"),
        (["--name", "a/b"], "--name: must match pattern"),
        (["--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["--epoch", "1"], "--epochs"),
    ],
)
def test_a_usage_error_is_a_sentence_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = train(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_failure_is_a_sentence_and_exit_code_1(quick: Path, tmp_path: Path) -> None:
    result = train("--config", quick, "--models", tmp_path, "--learning-rate", "1e30")
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: the loss is no longer a finite number in epoch 1 of 20;.*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []
