"""What a GPU does, on one: training in each way, going on, memory that is too small, export and the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from service.model.manifest import read_manifest
from tests.training.loop.test_distributed import finished, start
from tests.training.networks.test_device import Buffered, Scaled
from training.behaviour.settings import QUICK
from training.behaviour.study import of_model, study
from training.config import TrainConfig
from training.data import Dataset, Split, split_data
from training.errors import TrainingError
from training.loop.batches import batches, near
from training.loop.checkpoint import load, resumed
from training.loop.distributed import Ranks
from training.loop.log_files import Epoch
from training.loop.train import Trained, begin, train
from training.networks.device import choose_device, describe
from training.pipeline import run

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def images(digits: Dataset) -> Dataset:
    """Digits of 16 × 16 pixels."""
    pixels = np.repeat(np.repeat(digits.inputs.reshape(-1, 1, 8, 8), 2, axis=2), 2, axis=3)
    return replace(digits, inputs=pixels, features=())


def quick(data: Dataset, split: Split, **settings: object) -> Trained:
    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 3, "device": "gpu", **settings})
    return train(config, data, split, lambda _: None)


def test_training_on_the_gpu(digits: Dataset, split: Split) -> None:
    trained = quick(digits, split, epochs=20, device="auto")
    assert trained.device == choose_device("gpu").type
    assert trained.best.validation_score > 0.9
    assert all(weights.device.type == "cpu" for weights in trained.network.state_dict().values())
    with pytest.raises(TrainingError, match=r"there is no cuda:99; the last one is cuda:\d+"):
        choose_device("cuda:99")
    assert "GiB), float32" in describe(choose_device("gpu"), torch.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("compile_", ["off", "on"])
def test_each_precision_learns(digits: Dataset, split: Split, precision: str, compile_: str) -> None:
    trained = quick(digits, split, epochs=20, precision=precision, compile=compile_)
    assert trained.precision == precision
    assert trained.best.validation_score > 0.9


@pytest.mark.parametrize("network", ["lenet", "resnet"])
def test_convolutions_validate_as_the_cpu_computes(images: Dataset, network: str) -> None:
    """In float32: TF32 would be off by a thousandth."""
    part = split_data(images, 0.2, 0.2, 0.2, 0)
    trained = quick(images, part, network=network, learning_rate=1e-3)
    assert all(weights.is_contiguous() for weights in trained.network.state_dict().values())
    with torch.no_grad():
        answers = trained.network(torch.from_numpy(part.validation.inputs))
    loss = nn.functional.cross_entropy(answers, torch.from_numpy(part.validation.targets)).item()
    assert trained.best.validation_loss == pytest.approx(loss, rel=2e-5)


def test_learned_noise_and_dropout(digits: Dataset) -> None:
    data = replace(digits, targets=digits.inputs.sum(axis=1, keepdims=True), labels=())
    part = split_data(data, 0.2, 0.2, 0.2, 0)
    trained = quick(data, part, epochs=15, noise="learned", dropout="learned")
    assert trained.best.validation_score > 0.5


class Interrupted(Exception):
    pass


def test_a_run_is_gone_on_with_to_the_same_weights(digits: Dataset, split: Split, tmp_path: Path) -> None:
    """With the generators of the card; the sums of its kernels may differ in their last bits."""
    whole, file = quick(digits, split, epochs=5), tmp_path / "run.pt"

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Interrupted

    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 5, "device": "gpu", "checkpoint": file})
    with pytest.raises(Interrupted):
        train(config, digits, split, stop)
    torch.manual_seed(99)
    parts = train(resumed(TrainConfig(resume=file), load(file)), digits, split, lambda _: None)
    for name, weights in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], weights, rtol=1e-2, atol=1e-3)
    elsewhere = train(resumed(TrainConfig(resume=file, device="cpu"), load(file)), digits, split, lambda _: None)
    assert elsewhere.device == "cpu"


def test_a_checkpoint_takes_no_memory_of_the_card(digits: Dataset, split: Split, tmp_path: Path) -> None:
    device = choose_device("gpu")
    config = TrainConfig(hidden=(2048, 2048), device="gpu", checkpoint=tmp_path / "run.pt")
    started, _ = begin(config, digits, split.train, device)
    started.one_pass()
    started.state.keep()
    torch.accelerator.reset_peak_memory_stats()
    before = torch.accelerator.memory_allocated()
    started.state.keep()
    assert torch.accelerator.max_memory_allocated() == before


def test_memory_that_is_too_small_names_what_may_help(digits: Dataset, split: Split) -> None:
    shown = r"the memory of (cuda|xpu) is too small for this network and data; --batch-size below 64, .*--device"
    with pytest.raises(TrainingError, match=shown):
        quick(digits, split, hidden=(10**6, 10**6))


def test_smaller_batches_validate_in_less_memory(images: Dataset) -> None:
    part, peaks = split_data(images, 0.1, 0.4, 0.4, 0), []
    for size in (8, 64):
        torch.accelerator.empty_cache()
        started, _ = begin(TrainConfig(network="lenet", batch_size=size), images, part.train, choose_device("gpu"))
        rows = torch.from_numpy(part.calibration.inputs), torch.from_numpy(part.calibration.targets)
        torch.accelerator.reset_peak_memory_stats()
        before = torch.accelerator.memory_allocated()
        started.validate(rows)
        peaks.append(torch.accelerator.max_memory_allocated() - before)
    assert peaks[0] < peaks[1] / 2


def test_data_that_stay_on_the_host_come_in_the_same_batches() -> None:
    device, order = choose_device("gpu"), torch.randperm(10_000)
    rows = torch.arange(20_000.0).reshape(10_000, 2), torch.arange(10_000)
    on_device = near(rows, device)
    assert on_device[0].device.type == device.type
    heavy = torch.ones(2000, 2000, device=device)
    for host, card in zip(
        batches(rows, order, 64, Ranks(), device), batches(on_device, order, 64, Ranks(), device), strict=True
    ):
        heavy = heavy @ heavy / 2000  # so that copies are ahead of what is computed
        assert host.inputs.device.type == device.type
        assert torch.equal(host.inputs, card.inputs)
        assert torch.equal(host.targets, card.targets)


def scaled() -> nn.Module:
    return Scaled()


def buffered() -> nn.Module:
    return Buffered()


def test_a_module_with_a_tensor_that_stays_behind_is_refused(digits: Dataset, split: Split) -> None:
    with pytest.raises(TrainingError, match=r"module .*:scaled: answers on the CPU, and fails .*register_buffer"):
        quick(digits, split, module=f"{__name__}:scaled")
    assert quick(digits, split, module=f"{__name__}:buffered").best.number


def test_what_was_trained_on_the_gpu_is_published_and_reported_on(tmp_path: Path) -> None:
    said: list[str] = []
    on_gpu: dict[str, object] = {"device": "gpu", "hidden": (24, 24), "epochs": 5, "models": tmp_path, "passes": 10}
    folder, manifest = run(TrainConfig.model_validate(on_gpu | {"precision": "bfloat16"}), said.append, lambda _: None)
    assert any(line.startswith("device: cuda") and "bfloat16" in line for line in said)
    assert read_manifest(folder).training["precision"] == manifest.training["precision"] == "bfloat16"
    for device in ("cpu", "gpu"):
        report = study(of_model(folder, {"device": device}), folder, QUICK, {}, lambda _: None)
        assert len(report.claims) == 6


@pytest.mark.gpu(2)
def test_two_gpus_publish_one_model(tmp_path: Path) -> None:
    code, out, err = finished(start(tmp_path, "--epochs", "3", device="cuda"))
    assert code == 0, err
    assert "device: cuda:0 (" in out
    assert ", in 2 processes" in out
    assert out.count("Published") == 1


def test_two_processes_beside_a_gpu_share_the_cpu(tmp_path: Path) -> None:
    code, out, err = finished(start(tmp_path, "--epochs", "2", device="cpu"))
    assert code == 0, err
    assert ", in 2 processes" in out
