"""Import that misreads a file, on purpose: verification says so, for it asks the file and not import."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from tests.training.onnx_files import RNG, constant, dynamo_export, saved, two_layers
from training.errors import VerificationFailed
from training.exporting import dropout_arithmetic as noise
from training.exporting import sites
from training.exporting.graphs import flattened
from training.importing import original, source
from training.importing.publishing import publish_onnx

X = RNG.normal(size=(6, 3)).astype(np.float32)
P_MISREAD = "sample.onnx answers as the network does|every random draw of the network is a mask of the graph"


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., list[str]]:
    def publish(file: Path, rows: Any, **options: Any) -> list[str]:
        said: list[str] = []
        publish_onnx(file, [rows], name="net", models=tmp_path / "m", log=said.append, **options)
        return said

    return publish


@pytest.mark.parametrize("misread", [0.5, 0.74, 0.76, 0.9])
def test_a_misread_threshold_is_seen(
    misread: float, published: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says 0.75."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Dropout2d(0.25), nn.Flatten(), nn.Linear(288, 2))
    example = torch.randn(4, 1, 8, 8)
    file = dynamo_export(module, (example,), tmp_path / "net.onnx")
    assert any("drops units at 1 of" in line and "p = 0.25" in line for line in published(file, example.numpy()))
    for module_ in (sites, original):
        monkeypatch.setattr(module_, "find_block", lambda *found: replace(noise.find_block(*found), keep=misread))
    with pytest.raises(VerificationFailed, match=P_MISREAD):
        published(file, example.numpy())


@pytest.mark.parametrize("opset", [10, 17])
def test_a_misread_ratio_is_seen(
    opset: int, published: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = "<ratio = 0.25> (h)" if opset == 10 else "(h, r)"
    file = saved(two_layers(f"d = Dropout {way}", opset=opset, r=constant(0.25)), tmp_path / "net.onnx")
    published(file, X)
    monkeypatch.setattr(sites, "drop_ratio", lambda *_: 0.5)
    with pytest.raises(VerificationFailed, match=P_MISREAD):
        published(file, X)


def with_a_weight_changed(model: ModelProto) -> ModelProto:
    flat = flattened(model)
    weight = flat.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    return flat


@pytest.mark.parametrize(
    "end", ["y = MatMul (d, v)", "z = MatMul (d, v) y = Softmax (z)", "z = MatMul (d, v) y = LogSoftmax (z)"]
)
@pytest.mark.parametrize("rows", ["N", "4"])
def test_a_graph_that_was_changed_before_anything_is_compared_is_seen(
    end: str, rows: str, published: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both published graphs and the original are made of it; of the file itself is none of it."""
    file = saved(two_layers(end=end, rows=rows), tmp_path / "net.onnx")
    said = published(file, X, labels=("no", "yes"))
    assert any("answers as the untouched file does: relative difference at most" in line for line in said)
    monkeypatch.setattr(source, "flattened", with_a_weight_changed)
    with pytest.raises(VerificationFailed, match="answers as the untouched file does: a relative difference of"):
        published(file, X, labels=("no", "yes"))
