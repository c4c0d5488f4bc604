"""Two real processes that train one network together, by gloo on the CPU."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from typer.testing import CliRunner

from service.model.manifest import read_manifest
from tests.conftest import wait_until
from training.cli import app
from training.loop.distributed import Ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
PATIENCE = 120.0
NEXT_TO_NONE = "1e-6"
"""Dropout that exists, and drops nothing in so short a run."""


QUICK = ("--name", "net", "--hidden", "24", "--passes", "10", "--batch-size", "63")
"""Batches of 63 do not split evenly, nor does the last one of 17."""


def start(folder: Path, *flags: str, device: str = "cpu") -> "subprocess.Popen[str]":
    """Begin a training of two processes with torchrun."""
    train = ["-m", "--", "training", "train", "--device", device, "--models", str(folder), *QUICK, *flags]
    return subprocess.Popen(
        [*TORCHRUN, "2", *train],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def alone(folder: Path, *flags: str) -> str:
    """Train in this process and return what it prints."""
    train = ["train", "--device", "cpu", "--models", str(folder), *QUICK, *flags]
    done = CliRunner().invoke(app, train)
    assert done.exit_code == 0, done.output
    return done.output


def together(folder: Path, *flags: str) -> str:
    """Train in two processes and return what the first one prints."""
    code, out, err = finished(start(folder, *flags))
    assert code == 0, err
    return out


def weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    graph = onnx.load(folder / "net" / "1" / "predict.onnx").graph
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}


def test_two_processes_publish_one_model_which_is_that_of_one_process(tmp_path: Path) -> None:
    found = {}
    for processes, train in ((1, alone), (2, together)):
        folder, log = tmp_path / str(processes), tmp_path / f"{processes}.csv"
        flags = ("--epochs", "3", "--dropout", NEXT_TO_NONE, f"--log={log}")
        out = train(folder, *flags)
        assert out.count("Published") == 1
        assert ("in 2 processes" in out) == (processes == 2)
        found[processes] = weights(folder)
        assert read_manifest(folder / "net" / "1").training["processes"] == processes
        assert [path.name for path in (folder / "net").iterdir()] == ["1"]
    for name, weight in found[1].items():
        np.testing.assert_allclose(found[2][name], weight, rtol=1e-4, atol=1e-6, err_msg=name)
    first, second = (list(csv.DictReader((tmp_path / f"{one}.csv").read_text().splitlines())) for one in (1, 2))
    assert len(second) == 3
    for one, both in zip(first, second, strict=True):
        assert float(both["train_loss"]) == pytest.approx(float(one["train_loss"]), rel=1e-5)
        assert float(both["validation_loss"]) == pytest.approx(float(one["validation_loss"]), rel=1e-5)


def test_two_processes_have_the_penalty_of_one(tmp_path: Path) -> None:
    """It does not depend on the rows, of which each has a part; and here it makes itself felt."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(150, 2))
    table = np.column_stack([inputs, inputs[:, 0] + 0.1 * rng.normal(size=150)])
    file = tmp_path / "line.csv"
    np.savetxt(file, table, delimiter=",", header="a,b,y", comments="", fmt="%.6f")
    prior = ("--noise", "fixed", "--tau", "1", "--data", str(file), "--target", "y", "--learning-rate", "0.02")
    found = []
    for train, length_scale in ((alone, "30"), (together, "30"), (alone, "0.01")):
        folder = tmp_path / f"{train.__name__}-{length_scale}"
        train(folder, "--epochs", "3", "--dropout", NEXT_TO_NONE, "--length-scale", length_scale, *prior)
        found.append(weights(folder))
    small, both, large = found
    for name, weight in small.items():
        np.testing.assert_allclose(both[name], weight, rtol=1e-4, atol=1e-6, err_msg=name)
    assert np.linalg.norm(small["hidden_1.weight"]) < 0.95 * np.linalg.norm(large["hidden_1.weight"])


DRAW = """
import torch
from torch import nn
from training.networks.architecture import make_network
from training.config import TrainConfig
from training.data import load_data
from training.loop.distributed import joined, ranks
from training.loop.loss import Loss
from training.loop.train import Run
with joined():
    torch.manual_seed(5)
    config, data = TrainConfig(seed=5, device="cpu"), load_data("digits")
    rows = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    Run(config, data, make_network(config, data, rows[0]), Loss(config, None, 9), rows, torch.device("cpu"))
    kept = nn.Dropout(0.5)(torch.ones(60)) > 0
    masks = ranks().of_all("".join(map(str, kept.int().tolist())))
    if ranks().first:
        print(*masks)
"""


def test_two_processes_drop_other_units(tmp_path: Path) -> None:
    file = tmp_path / "draw.py"
    file.write_text(DRAW)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([*TORCHRUN, "2", str(file)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    masks = done.stdout.split()
    assert len(masks) == 2
    assert masks[0] != masks[1]


def test_the_seed_of_a_process_is_no_other_runs() -> None:
    seeds = {Ranks(rank, 4).seed(seed) for rank in range(4) for seed in range(50)}
    assert len(seeds) == 200
    assert [Ranks(0, 4).seed(seed) for seed in range(50)] == list(range(50))


def test_what_goes_wrong_is_said_once(tmp_path: Path) -> None:
    code, out, err = finished(start(tmp_path, "--epochs", "2", "--learning-rate", "1e30"))
    assert code != 0
    assert err.count("Error: the loss is no longer a finite number in epoch 1 of 2") == 1
    assert "Published" not in out


def test_a_run_that_was_stopped_is_gone_on_with_to_the_same_weights(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    flags = ("--epochs", "60", "--dropout", "0.2")
    together(tmp_path / "whole", *flags)
    process = start(tmp_path / "parts", *flags, "--checkpoint", str(file))
    wait_until(lambda: file.exists() and torch.load(file, weights_only=True)["epoch"] > 0, PATIENCE)
    process.send_signal(signal.SIGINT)
    code, out, err = finished(process)
    assert code != 0
    assert len(re.findall(r"Stopped; .*run\.pt has the state after the last whole epoch", err)) == 1
    assert "Published" not in out
    assert 0 < torch.load(file, weights_only=True)["epoch"] < 60
    together(tmp_path / "parts", "--resume", str(file))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
