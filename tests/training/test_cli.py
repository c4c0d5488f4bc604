import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty
from service.loading.load import load_model
from service.model.manifest import read_manifest
from training.cli import app
from training.config import TrainConfig
from training.data import load_data, split_data
from training.flags import flag

SPLIT = ("validation_share", "calibration_share", "test_share", "seed")


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
        assert f"A service that watches {folder} picks it up by itself." in result.output
        assert f"DROPSERVE_MODELS={folder} " in result.output
        assert " -m service serve" in result.output
    return folder


def test_the_published_model_is_what_was_asked_for(models: Path) -> None:
    engine = load_model(models / "quick" / "1", MaskCache(2**20))
    manifest = engine.manifest
    assert [(site.name, site.p, site.shape) for site in manifest.sites] == [
        ("dropout_1", 0.2, (24,)),
        ("dropout_2", 0.2, (16,)),
    ]
    assert manifest.training["epochs"] == 20
    assert [(seen.lowest, seen.highest) for seen in manifest.seen] == [(0, 16)]
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


def test_prediction_sets_contain_the_truth_as_often_as_they_say(models: Path) -> None:
    """Among the test rows, which chose nothing, within what chance leaves to 360 calibration and 359 test rows."""
    engine = load_model(models / "quick" / "1", MaskCache(2**20))
    run = TrainConfig.model_validate({name: engine.manifest.training[name] for name in SPLIT})
    split = split_data(load_data("digits"), run.validation_share, run.calibration_share, run.test_share, run.seed)
    test, rows = split.test, len(split.calibration.targets)
    probabilities = engine.predict({"input": test.inputs}).values
    for quantile in engine.manifest.conformal:
        rank = math.ceil(round((rows + 1) * quantile.coverage, 9))
        covered = (1 - probabilities[np.arange(len(test.targets)), test.targets] <= quantile.quantile).sum()
        low, high = stats.betabinom(len(test.targets), rank, rows + 1 - rank).interval(0.99)
        assert low <= covered <= high, quantile


def test_accepted_rows_are_wrong_no_more_often_than_aimed_at(models: Path) -> None:
    engine = load_model(models / "quick" / "1", MaskCache(2**20))
    test = split_data(load_data("digits"), 0.1, 0.2, 0.2, 0).test
    uncertainty = engine.sample({"input": test.inputs}, Sampling(20, 0)).uncertainty
    assert isinstance(uncertainty, ClassUncertainty)
    wrong = uncertainty.mean.argmax(axis=1) != test.targets
    assert engine.manifest.abstention
    for threshold in engine.manifest.abstention:
        accepted = uncertainty.predictive_entropy <= threshold.threshold
        assert wrong[accepted].sum() <= stats.binom(accepted.sum(), threshold.error_rate).ppf(0.99)


def test_a_folder_that_cannot_be_written_is_told_before_training(quick: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = train("--config", quick, "--models", tmp_path / "file", "--learning-rate", "1e30")
    assert result.exit_code == 1
    assert result.stderr.endswith("file: cannot be written: File exists\n")
    assert "data:" not in result.stdout


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
        (["--name", "a/b"], "--name: expected at most 100 letters"),
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


def test_samples_drop_at_the_sites_of_the_flag(quick: Path, tmp_path: Path) -> None:
    result = train("--config", quick, "--models", tmp_path, "--epochs", "1", "--sample-sites", "last:1")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "quick" / "1")
    assert [site.name for site in manifest.sites] == ["dropout_2"]
    assert manifest.bypassed_sites == ("dropout_1",)
    assert manifest.site_comparison
    assert manifest.site_comparison.part == "calibration"
    assert manifest.training["sample_sites"] == ["last:1"]


def test_unknown_sites_are_refused_before_training(quick: Path, tmp_path: Path) -> None:
    result = train("--config", quick, "--models", tmp_path, "--sample-sites", "dropout_1,dropout_9")
    assert result.exit_code == 2
    assert "'dropout_9' selects no dropout site; there are: dropout_1, dropout_2" in result.stderr
    assert "train: on" not in result.output
