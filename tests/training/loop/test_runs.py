"""How a run may go: its precision, its compiler, and what it writes for TensorBoard."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from training.config import TrainConfig
from training.data import Dataset, Split, split_data
from training.errors import TrainingError
from training.loop.checkpoint import load, resumed
from training.loop.log_files import Epoch
from training.loop.loss import Loss
from training.loop.train import Run, Trained, train
from training.networks.architecture import make_network
from training.networks.device import choose_precision, placed


def quick(digits: Dataset, split: Split, **settings: object) -> Trained:
    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 3, "device": "cpu", **settings})
    return train(config, digits, split, lambda _: None)


def test_bfloat16_learns_and_weights_stay_in_float32(digits: Dataset, split: Split) -> None:
    full, half = (quick(digits, split, epochs=15, precision=name) for name in ("float32", "bfloat16"))
    assert (full.precision, half.precision) == ("float32", "bfloat16")
    assert half.best.validation_score > 0.9
    assert all(weights.dtype == torch.float32 for weights in half.network.parameters())
    first = "hidden_1.weight"
    assert not torch.equal(full.network.state_dict()[first], half.network.state_dict()[first])


def test_the_cpu_computes_in_float32_unless_it_is_told_otherwise() -> None:
    assert choose_precision("auto", torch.device("cpu")) == torch.float32
    assert choose_precision("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_images_train_to_the_same_weights_bit_for_bit(digits: Dataset) -> None:
    """With channels last, too; and what comes out lies in memory as everything else does."""
    images = np.repeat(np.repeat(digits.inputs.reshape(-1, 1, 8, 8), 2, axis=2), 2, axis=3)
    data = replace(digits, inputs=images, features=())
    part = split_data(data, 0.1, 0.4, 0.4, 0)
    once, again = (quick(data, part, epochs=1, network="lenet").network.state_dict() for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert all(weights.is_contiguous() for weights in once.values())


def test_convolutions_of_other_dimensions_stay_as_they_are() -> None:
    found = placed(nn.Sequential(nn.Conv1d(2, 2, 3), nn.Conv2d(2, 2, 3), nn.Conv3d(2, 2, 3)), torch.device("cpu"))
    assert [layer.weight.is_contiguous() for layer in found.children()] == [True, False, True]  # type: ignore[operator]


def run_of(folder: Path, digits: Dataset, split: Split, epochs: int, **settings: object) -> None:
    class Interrupted(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.number == epochs:
            raise Interrupted

    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 5, "device": "cpu", **settings})
    with pytest.raises(Interrupted):
        train(config, digits, split, stop)


def test_tensorboard_reads_what_was_written_before_and_after_an_interruption(
    digits: Dataset, split: Split, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    file, folder = tmp_path / "run.pt", tmp_path / "board"
    run_of(folder, digits, split, 2, checkpoint=file, tensorboard=folder)
    seen: list[Epoch] = []
    train(resumed(TrainConfig(resume=file, tensorboard=folder), load(file)), digits, split, seen.append)
    events = accumulator.EventAccumulator(str(folder)).Reload()
    tags = ("learning_rate", "loss/train", "loss/validation", "validation/accuracy")
    assert sorted(events.Tags()["scalars"]) == sorted(tags)
    for tag in tags:
        assert [event.step for event in events.Scalars(tag)] == [1, 2, 3, 4, 5]
    assert [event.value for event in events.Scalars("loss/validation")][1:] == pytest.approx(
        [epoch.validation_loss for epoch in seen]
    )
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert max(rates) <= TrainConfig().learning_rate
    assert rates[-1] < rates[0]


def test_a_folder_for_tensorboard_that_cannot_be_made_is_told(digits: Dataset, split: Split, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"tensorboard: .*file: cannot be written: File exists"):
        quick(digits, split, tensorboard=tmp_path / "file")


COMPILE = """
import sys
from training.config import TrainConfig
from training.data import load_data, split_data
from training.loop.train import train
digits = load_data("digits")
config = TrainConfig(hidden=(32,), epochs=2, device="cpu", compile="on")
trained = train(config, digits, split_data(digits, 0.2, 0.2, 0.2, 0), lambda epoch: None)
print(*trained.network.state_dict(), trained.best.train_loss)
"""


@pytest.mark.slow
def test_a_compiled_network_learns_under_the_same_names(digits: Dataset, split: Split) -> None:
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=True)
    *names, loss = done.stdout.split()
    plain = quick(digits, split, epochs=2)
    assert names == list(plain.network.state_dict())
    assert float(loss) == pytest.approx(plain.best.train_loss, rel=0.2)  # its dropout draws other numbers


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")  # of torch's own import
def test_epochs_do_not_compile_anew(digits: Dataset, split: Split) -> None:
    """One graph for whole batches, and one more for the last batch, which is smaller."""
    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 10, "device": "cpu", "compile": "on"})
    rows = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)
    network, graphs = make_network(config, digits, rows[0]), []

    def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    run = Run(config, digits, network, Loss(config, None, len(rows[0])), rows, torch.device("cpu"))
    run.forward = cast("nn.Module", torch.compile(network, backend=count))
    for _ in range(10):
        run.one_pass()
    assert 1 <= len(graphs) <= 2


def test_a_compiler_that_is_not_there_is_told(tmp_path: Path) -> None:
    nowhere = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False, env=nowhere)
    shown = "training.errors.TrainingError: compile: torch cannot compile this network here: "
    assert f"{shown}InvalidCxxCompiler: No working C++ compiler found" in done.stderr
    assert "--compile off trains without" in done.stderr
