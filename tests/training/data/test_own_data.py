"""From a file to a published model, for each kind of data; the service answers on raw values as torch does."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.loading.load import load_model
from training.cli import app
from training.config import TrainConfig
from training.data import Choices, Dataset, load_data, split_data
from training.errors import TrainingError
from training.loop.train import Trained, train
from training.networks.architecture import make_network
from training.networks.layers import InTargetsUnit, OneHot
from training.pipeline import settled

RNG = np.random.default_rng(0)
TOWNS = np.array(["Bonn", "Köln", "Trier"])
FAST = ("--epochs", "3", "--passes", "8", "--hidden", "16", "--device", "cpu")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)], env={"COLUMNS": "200"})


def houses(folder: Path, rows: int = 300) -> Path:
    """Prices that depend on size and town."""
    size, town = RNG.uniform(20, 200, rows), RNG.integers(0, 3, rows)
    price = 2000 * size + 50000 * town
    lines = [f"{s:.1f},{TOWNS[t]},{p:.0f}" for s, t, p in zip(size, town, price, strict=True)]
    file = folder / "houses.csv"
    file.write_text("\n".join(["size,town,price", *lines]), encoding="utf-8")
    return file


def images(folder: Path, side: int, channels: int = 1) -> Path:
    """Two classes, the second brighter on the left."""
    classes = np.arange(200) % 2
    pixels = RNG.integers(0, 128, (200, side, side, channels), dtype=np.uint8)
    pixels[classes == 1, :, : side // 2] += 100
    np.savez(folder / "some.npz", x=pixels, y=classes)
    return folder / "some.npz"


def trained_as(engine: Engine, choices: Choices, file: Path) -> tuple[Dataset, Trained]:
    """The same run again, in torch alone."""
    said = {key: value for key, value in engine.manifest.training.items() if key in TrainConfig.model_fields}
    config = TrainConfig.model_validate(said)
    data = load_data(str(file), choices)
    shares = (config.validation_share, config.calibration_share, config.test_share)
    return data, train(config, data, split_data(data, *shares, config.seed), lambda _: None)


def check_served(engine: Engine, trained: Trained, raw: NDArray[np.float32]) -> None:
    """Torch and the engine agree on raw rows; without dropout, and each pass differs with it."""
    with torch.no_grad():
        answer = trained.network(torch.from_numpy(raw)).numpy()
    if engine.manifest.task == "classification":
        logits = answer / engine.manifest.temperature
        answer = np.exp(logits - logits.max(axis=1, keepdims=True))
        answer /= answer.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(engine.predict({"input": raw}).values, answer, rtol=1e-4, atol=1e-5)
    draws = engine.draw_all({"input": raw}, Sampling(4, 0))
    assert np.abs(draws[0] - draws[1]).max() > 0


def test_a_regression_on_a_table_answers_in_the_targets_unit(tmp_path: Path) -> None:
    file = houses(tmp_path)
    result = run("--data", file, "--target", "price", "--models", tmp_path, *FAST, "--epochs", "60")
    assert result.exit_code == 0, result.output
    assert "town    category  3 values: Bonn, Köln, Trier" in result.output
    assert "dropout 0.1" in result.output
    engine = load_model(tmp_path / "houses" / "1", MaskCache(2**20))
    data, trained = trained_as(engine, Choices("price"), file)
    check_served(engine, trained, data.inputs[:40])
    assert engine.manifest.evaluation["deterministic"]["rmse"] < data.targets.std() / 3
    assert engine.manifest.training["data"] == "houses.csv"
    assert str(tmp_path) not in (tmp_path / "houses" / "1" / "manifest.json").read_text()


def test_classes_of_a_table(tmp_path: Path) -> None:
    file = houses(tmp_path)
    result = run("--data", file, "--target", "town", "--models", tmp_path, "--name", "towns", *FAST)
    assert result.exit_code == 0, result.output
    engine = load_model(tmp_path / "towns" / "1", MaskCache(2**20))
    assert engine.manifest.labels == tuple(TOWNS)
    data, trained = trained_as(engine, Choices("town"), file)
    check_served(engine, trained, data.inputs[:40])


@pytest.mark.parametrize(
    ("side", "channels", "network", "sites"),
    [
        (16, 1, "auto", ["conv_dropout", "dropout_1"]),
        (8, 3, "resnet", ["channel_dropout_1", "channel_dropout_2", "channel_dropout_3", "dropout"]),
        (8, 3, "auto", ["dropout_1"]),
    ],
)
def test_images(tmp_path: Path, side: int, channels: int, network: str, sites: list[str]) -> None:
    file = images(tmp_path, side, channels)
    result = run("--data", file, "--models", tmp_path, "--network", network, *FAST)
    assert result.exit_code == 0, result.output
    engine = load_model(tmp_path / "some" / "1", MaskCache(2**20))
    assert engine.manifest.inputs[0].shape == (channels, side, side)
    assert [site.name for site in engine.manifest.sites] == sites
    data, trained = trained_as(engine, Choices(), file)
    check_served(engine, trained, data.inputs[:10])


OWN = """
from torch import nn
def build(data):
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
def wrong():
    return nn.Linear(4, 3)
def broken():
    return nn.Linear(9, 1)
def nothing():
    return 7
"""


def test_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    file = houses(tmp_path)
    own = ("--data", file, "--target", "price", "--models", tmp_path, *FAST, "--module")
    result = run(*own, "my_network:build")
    assert result.exit_code == 0, result.output
    engine = load_model(tmp_path / "houses" / "1", MaskCache(2**20))
    assert "hidden" not in engine.manifest.training
    data, trained = trained_as(engine, Choices("price"), file)
    check_served(engine, trained, data.inputs[:40])
    for name, message in (
        ("wrong", "expected to map preprocessed rows (rows, 4) to (rows, 1); for 3 rows it answers (3, 3)"),
        ("broken", "expected to map preprocessed rows (rows, 4) to (rows, 1); it fails: RuntimeError: mat1 and mat2"),
        ("nothing", "expected to return a torch.nn.Module; it returns a int"),
        ("none", "cannot be imported: AttributeError: module 'my_network' has no attribute 'none'"),
    ):
        assert f"module my_network:{name}: {message}" in run(*own, f"my_network:{name}").stderr
    sys.modules.pop("my_network")


def test_a_run_is_gone_on_with_from_its_checkpoint_alone(tmp_path: Path) -> None:
    file, checkpoint = houses(tmp_path), tmp_path / "run.pt"
    first = run("--data", file, "--target", "price", "--models", tmp_path, *FAST, "--checkpoint", checkpoint)
    again = run("--resume", checkpoint)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    once, twice = (load_model(tmp_path / "houses" / str(i), MaskCache(2**20)).manifest.files for i in (1, 2))
    assert once["predict.onnx"] == twice["predict.onnx"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = torch.optim.AdamW.step

    def interrupted(self: torch.optim.AdamW, closure: None = None) -> None:
        step(self, closure)
        interrupted.calls += 1  # type: ignore[attr-defined]
        if interrupted.calls == 8:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    interrupted.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    file, checkpoint = houses(tmp_path), tmp_path / "run.pt"
    result = run("--data", file, "--target", "price", "--models", tmp_path, *FAST, "--checkpoint", checkpoint)
    assert result.exit_code == 130
    assert f" -m training train --resume {checkpoint}" in result.stderr
    resumed = run("--resume", checkpoint)
    assert resumed.exit_code == 0, resumed.output


@pytest.mark.parametrize(
    ("network", "message"), [("lenet", "lenet needs images, and houses.csv has rows of columns"), ("mlp", "")]
)
def test_a_network_that_does_not_fit_is_refused(tmp_path: Path, network: str, message: str) -> None:
    result = run("--data", houses(tmp_path), "--target", "price", "--models", tmp_path, *FAST, "--network", network)
    assert (message in result.stderr) if message else result.exit_code == 0


def test_categories_are_spread_over_columns_and_an_unknown_one_is_zeros() -> None:
    rows = torch.tensor([[1.0, 2, 0], [3.0, 0, 1], [5.0, 1, 1]])
    encode = OneHot((0, 3, 2))
    assert encode(rows)[:, 0].tolist() == [1, 3, 5]
    assert encode(rows)[:, 1:].tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 1]]
    assert encode(torch.tensor([[1.0, 7, 0.5]]))[0, 1:].tolist() == [0] * 5
    assert OneHot((3, 2))(rows[:, 1:]).shape == (3, 5)


def test_values_return_to_the_targets_unit() -> None:
    targets = torch.tensor([[1e6], [2e6], [4e6]])
    unit = InTargetsUnit(targets)
    standard = unit.standardised(targets)
    torch.testing.assert_close(standard.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(unit(standard), targets)


def test_what_was_said_is_not_overruled(tmp_path: Path) -> None:
    data = load_data(str(houses(tmp_path)), Choices("price"))
    assert settled(TrainConfig(), data, 200).dropout == 0.1
    assert settled(TrainConfig(dropout=0.3), data, 200).dropout == 0.3
    assert settled(TrainConfig(), data, 60_000).epochs == 10
    assert settled(TrainConfig(epochs=50), data, 60_000).epochs == 50
    digits = load_data("digits")
    assert settled(TrainConfig(), digits, 899) == TrainConfig(network="mlp")


def test_a_lenet_for_small_images_is_refused(tmp_path: Path) -> None:
    data = load_data(str(images(tmp_path, 8)))
    with pytest.raises(TrainingError, match=r"lenet needs images of 16 pixels a side or more; some\.npz has 8×8"):
        make_network(TrainConfig(network="lenet"), data, torch.from_numpy(data.inputs))
    network = make_network(TrainConfig(), data, torch.from_numpy(data.inputs))
    assert isinstance(network, nn.Sequential)
    answer: Tensor = network(torch.from_numpy(data.inputs[:5]))
    assert answer.shape == (5, 2)


def test_a_module_that_ends_in_a_softmax_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loss takes logits, and would take the softmax of probabilities."""
    text = (
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Dropout(), nn.Linear(64, 10), nn.Softmax(1))\n"
    )
    (tmp_path / "soft_network.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    done = run("--models", tmp_path, "--epochs", "100000", "--network", "mlp", "--module", "soft_network:build")
    sys.modules.pop("soft_network")
    assert "it answers with probabilities, and the loss takes logits: leave out the softmax" in done.output


def test_a_module_without_dropout_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    done = run("--data", "digits", "--models", tmp_path, "--epochs", "100000", "--module", "torch.nn:Identity")
    assert done.exit_code == 1
    assert "it answers (3, 64)" in done.output
    networks = tmp_path / "plain_network.py"
    networks.write_text("import torch\ndef build():\n    return torch.nn.Linear(64, 10)\n")
    sys.path.append(str(tmp_path))
    try:
        done = run("--models", tmp_path, "--epochs", "100000", "--module", "plain_network:build")
    finally:
        sys.path.remove(str(tmp_path))
    assert done.exit_code == 1
    assert "module plain_network:build: has no dropout" in done.output
