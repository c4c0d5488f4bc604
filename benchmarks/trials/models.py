"""What trials ask: published and quickly trained networks, as the graphs that are sampled, and real rows for them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import ModelProto
from sklearn.datasets import load_diabetes
from torch import nn

from benchmarks.sampling.networks import NETWORKS
from benchmarks.sampling.torch_network import build
from service.model.manifest import SAMPLE_GRAPH, DropoutSite, read_manifest
from service.model.runtime import Array
from training.config import TrainConfig
from training.data import load_data, split_data
from training.export import export

DIGITS = Path("models/digits/1")
DIABETES_ROWS, DIABETES_P, DIABETES_EPOCHS = 32, 0.2, 150


class Model(NamedTuple):
    """A sample graph, its dropout, and rows to ask that it was not trained on."""

    name: str
    sample: ModelProto
    sites: tuple[DropoutSite, ...]
    rows: Array
    temperature: float = 1.0


def digits() -> Model:
    """The published model, and the rows it was tested with, shuffled."""
    manifest, config = read_manifest(DIGITS), TrainConfig()
    shares = (config.validation_share, config.calibration_share, config.test_share)
    rows = split_data(load_data(config.data), *shares, config.seed).test.inputs
    rows = np.random.default_rng(0).permutation(rows)
    temperature = manifest.sampled_temperature or manifest.temperature
    return Model("digits 64-256-256-10", onnx.load(DIGITS / SAMPLE_GRAPH), manifest.sites, rows, temperature)


def large() -> Model:
    """Of random weights and rows: for its time alone."""
    torch.manual_seed(0)
    network = NETWORKS["mlp-large"]
    rows = torch.randn(128, *network.inputs)
    exported = export(build(network), (rows[:3],))
    return Model("random 784-1024-1024-1024-10", exported.sample, exported.sites, rows.numpy())


def diabetes() -> Model:
    """A regression, trained here on all rows but those to ask; inputs and target are standardised."""
    torch.manual_seed(0)
    bunch = load_diabetes()
    x = torch.tensor(bunch.data / bunch.data.std(axis=0), dtype=torch.float32)
    y = torch.tensor((bunch.target - bunch.target.mean()) / bunch.target.std(), dtype=torch.float32)[:, None]
    hidden = [layer for n in (10, 128) for layer in (nn.Linear(n, 128), nn.ReLU(), nn.Dropout(DIABETES_P))]
    network = nn.Sequential(*hidden, nn.Linear(128, 1))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(DIABETES_EPOCHS):
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(network(x[DIABETES_ROWS:]), y[DIABETES_ROWS:])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    exported = export(network.eval(), (x[:3],))
    return Model("diabetes 10-128-128-1", exported.sample, exported.sites, x[:DIABETES_ROWS].numpy())
