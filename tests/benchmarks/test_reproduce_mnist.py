"""The experiments on MNIST, at a size for a CPU, on scikit-learn's digits blown up to images of 16×16."""

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import parameters_to_vector
from typer.testing import CliRunner, Result

from benchmarks.reproduce.cli import app
from benchmarks.reproduce.mnist import study
from benchmarks.reproduce.mnist.digits import Digits, read_digits
from benchmarks.reproduce.mnist.fit import fit, limit_norms, make_network, step_size
from benchmarks.reproduce.mnist.protocol import ANGLES, PASSES, RECIPES
from benchmarks.reproduce.records import read
from service.engine.engine import Engine
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, softmax
from training.errors import TrainingError

COUNTS = (1400, 300, 100)
SMALL = replace(RECIPES["mlp"], hidden=(64, 64, 64), epochs=12, dropout=0.3, input_dropout=0.1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, digits = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8) * 15.9, np.ones((2, 2))).astype(np.uint8)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x_train=large[:1450], y_train=digits[:1450], x_test=large[1450:], y_test=digits[1450:])
    return path


@pytest.fixture(scope="module")
def digits(file: Path) -> Digits:
    return read_digits(file, *COUNTS)


@pytest.fixture(scope="module")
def engine(digits: Digits) -> Engine:
    network = fit(SMALL, digits.images, digits.labels, torch.device("cpu"), 0, lambda _: None)
    return study.serve(network, digits.test_images)


def reproduce(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["mnist", *map(str, arguments)], env={"COLUMNS": "200"})


def test_test_rows_are_the_files_own(digits: Digits) -> None:
    images, _ = load_digits(return_X_y=True)
    assert [len(part) for part in digits] == [1400, 1400, 300, 300, 100, 100]
    np.testing.assert_array_equal(digits.test_images[:, 0, ::2, ::2].reshape(300, 64), (images[1450:1750] * 15.9) // 1)


def test_another_files_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros((4, 3)), y=[0, 1, 0, 1])
    with pytest.raises(
        TrainingError, match=r"expected images of ten digits .* found rows of 3, 0 classes, 0 test rows"
    ):
        read_digits(tmp_path / "other.npz", 0, 0, 10)


def test_weights_to_hidden_units_are_kept_short_and_others_left_alone(digits: Digits) -> None:
    network = make_network(SMALL, digits.images)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        layers[0].weight[0] *= 1e-3
        layers[0].weight[1] *= 1e3
        layers[-1].weight *= 1e3
    before = [layer.weight.detach().clone() for layer in layers]
    limit_norms(network, 2.0)
    lengths = torch.linalg.vector_norm(layers[0].weight, dim=1)
    assert lengths[1].item() == pytest.approx(2.0)
    torch.testing.assert_close(layers[0].weight[1] / 2, before[0][1] / before[0][1].norm())
    assert torch.equal(layers[0].weight[0], before[0][0])
    assert torch.equal(layers[-1].weight, before[-1])


def test_the_limit_holds_after_training(digits: Digits) -> None:
    recipe = replace(SMALL, epochs=2, max_norm=0.5)
    network = fit(recipe, digits.images[:300], digits.labels[:300], torch.device("cpu"), 0, lambda _: None)
    hidden = [layer for layer in network if isinstance(layer, nn.Linear)][:-1]
    longest = max(torch.linalg.vector_norm(layer.weight, dim=1).max().item() for layer in hidden)
    assert longest == pytest.approx(0.5, rel=1e-4)


def test_the_step_size_rises_to_its_highest_and_falls_to_zero() -> None:
    sizes = [step_size(step, 100) for step in range(100)]
    assert max(sizes) == sizes[10] == 1.0
    assert sizes[:11] == sorted(sizes[:11])
    assert sizes[10:] == sorted(sizes[10:], reverse=True)
    assert 0 < sizes[-1] < 1e-3
    assert sizes[55] == pytest.approx(0.5)


def test_the_same_seed_trains_the_same_network(digits: Digits) -> None:
    recipe = replace(SMALL, epochs=1)
    once, again, other = (
        fit(recipe, digits.images[:200], digits.labels[:200], torch.device("cpu"), seed, lambda _: None)
        for seed in (3, 3, 4)
    )
    first, second, third = (parameters_to_vector(network.parameters()) for network in (once, again, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_the_error_is_that_of_the_graph_without_dropout(engine: Engine, digits: Digits) -> None:
    answers = engine.predict({"input": digits.test_images}).values.argmax(axis=1)
    found = study.error(engine, digits.test_images, digits.test_labels)
    assert found == pytest.approx(100 * np.mean(answers != digits.test_labels))
    assert found < 20


def test_the_curve_averages_disjoint_groups_of_the_same_passes(engine: Engine, digits: Digits) -> None:
    some, truth = digits.test_images[:80], digits.test_labels[:80]
    curve = study.curve(engine, some, truth, (1, 3, 7), 5, lambda _: None)
    probabilities = softmax(engine.draw_all({"input": some}, Sampling(7, 5)))
    singles = 100 * (probabilities.argmax(axis=2) != truth).mean(axis=1)
    threes = [probabilities[first : first + 3].mean(axis=0).argmax(axis=1) != truth for first in (0, 3)]
    seven = probabilities.mean(axis=0).argmax(axis=1) != truth
    assert curve.passes == [1, 3, 7]
    assert curve.mean == pytest.approx([singles.mean(), 100 * np.mean(threes), 100 * seven.mean()])
    assert curve.deviation == pytest.approx([singles.std(), 100 * np.mean(threes, axis=1).std(), 0])


def test_turned_digits_are_asked_as_callers_would(engine: Engine, digits: Digits) -> None:
    turned = study.turn(engine, digits.turned_images, digits.turned_labels, 0, lambda _: None)
    upright = engine.sample({"input": digits.turned_images}, Sampling(100, 0)).uncertainty
    upside_down = engine.sample({"input": digits.turned_images[:, :, ::-1, ::-1].copy()}, Sampling(100, 0)).uncertainty
    assert isinstance(upright, ClassUncertainty)
    assert isinstance(upside_down, ClassUncertainty)
    assert turned.angles == list(ANGLES)
    assert turned.mutual_information[0] == pytest.approx(upright.mutual_information.mean())
    assert turned.mutual_information[-1] == pytest.approx(upside_down.mutual_information.mean())
    assert turned.accuracy[0] > 0.8 > min(turned.accuracy)
    sums = np.array(turned.expected_entropy) + turned.mutual_information
    np.testing.assert_allclose(sums, turned.predictive_entropy, atol=1e-9)


def test_the_command_keeps_what_it_found_and_draws_it(file: Path, tmp_path: Path) -> None:
    results = tmp_path / "results" / "mnist.json"
    small = ("--epochs", "1", "--hidden", "16", "--rows", "300", "--test-rows", "40", "--turned-rows", "20")
    for only in ("mlp", "lenet"):
        done = reproduce("--data", file, "--only", only, *small, "--device", "cpu", "--results", results)
        assert done.exit_code == 0, done.output
    records = {one["network"]: one for one in read(results)}
    assert list(records) == ["lenet", "mlp"]
    for one in records.values():
        assert one["rows"] == 300
        assert one["recipe"]["epochs"] == 1
        assert one["curve"]["passes"] == list(PASSES)
        assert 0 <= one["error"] <= 100
        assert all(map(math.isfinite, one["turned"]["mutual_information"]))
    assert records["lenet"]["recipe"]["hidden"] == [16]
    assert f"{records['mlp']['error']:.2f}" in done.output
    if not find_spec("matplotlib"):
        assert "No plots: they need matplotlib" in done.output
        return
    for name in ("mnist_samples.png", "mnist_turned.png"):
        assert (results.parent / name).read_bytes().startswith(b"\x89PNG")


def test_what_is_not_there_is_named(file: Path) -> None:
    unknown = reproduce("--data", file, "--only", "vgg")
    assert unknown.exit_code == 2
    assert "there is no 'vgg'; there are: mlp, mlp-max-norm, lenet" in unknown.output
    nowhere = reproduce("--data", "nowhere.npz")
    assert nowhere.exit_code == 1
    assert "nowhere.npz" in nowhere.output


@pytest.mark.parametrize(
    ("content", "said"), [("[", "cannot be read"), ('{"a": 1}', "not a file of results"), (None, "cannot be written")]
)
def test_a_file_that_could_not_keep_results_is_refused_first(
    file: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    results = tmp_path / "results.json"
    if content is None:
        (tmp_path / "folder").write_text("a file")
        results = tmp_path / "folder" / "results.json"
    else:
        results.write_text(content)
    done = reproduce("--data", file, "--results", results)
    assert done.exit_code == 1
    assert said in done.output


def test_a_loss_that_is_no_number_ends_it(digits: Digits) -> None:
    recipe = replace(SMALL, epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingError, match="no longer a finite number"):
        fit(recipe, digits.images[:200], digits.labels[:200], torch.device("cpu"), 0, lambda _: None)
