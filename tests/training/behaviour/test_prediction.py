"""Nothing is dropped at prediction; where something is, or a weight differs, the report says so."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from tests.training.behaviour import broken
from training.behaviour.claim import Claim
from training.behaviour.classic import ClassicDropout, classic_twin, scaled_down
from training.behaviour.expectation import off_in_expectation
from training.behaviour.networks import Network
from training.behaviour.prediction import prediction
from training.behaviour.scores import ACCURACY
from training.behaviour.served import operators as count_operators
from training.behaviour.settings import QUICK
from training.exporting.export import training_graph


def claim_of(network: Network) -> Claim:
    return prediction([network], network.served, network.test.inputs, ACCURACY, QUICK)


def failed(claim: Claim) -> list[str]:
    return [finding.what for finding in claim.findings if not finding.holds]


def test_it_holds_for_a_network_as_trained_and_published(network: Network) -> None:
    claim = claim_of(network)
    assert claim.holds, failed(claim)
    assert not network.module.training
    in_training, *predicting = (operators for _, operators in claim.tables[0].rows)
    assert "Dropout 2" in in_training
    assert len(predicting) == 2
    assert not any("Dropout" in operators for operators in predicting)


def test_a_network_that_drops_in_evaluation_mode(network: Network) -> None:
    module = nn.Sequential(
        *(broken.Lasting(0.5) if isinstance(part, nn.Dropout) else part for part in network.module.children())
    )
    assert f"torch, evaluation mode: different answers in {QUICK.calls} calls" in failed(
        claim_of(replace(network, module=module))
    )


def test_a_graph_with_dropout_in_it(network: Network) -> None:
    dropping = training_graph(network.module, network.example).SerializeToString()
    claim = claim_of(replace(network, served=replace(network.served, predict=dropping)))
    assert count_operators(dropping)["Dropout"] == 2
    assert any(what.endswith("dropout or random operators") for what in failed(claim))


def test_weights_that_were_rescaled(network: Network) -> None:
    model = onnx.load_from_string(network.served.predict)
    for tensor in model.graph.initializer:
        if tensor.dims == [10, 24]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.5), tensor.name))
    claim = claim_of(replace(network, served=replace(network.served, predict=model.SerializeToString())))
    faults = failed(claim)
    assert "torch's parameters found in predict.onnx byte for byte" in faults
    assert any("weights of sample.onnx found in predict.onnx byte for byte" in what for what in faults)


def test_the_classic_twin_trains_and_predicts_the_same(network: Network) -> None:
    assert isinstance(network.module, nn.Sequential)
    rows, twin = network.example[0], classic_twin(network.module)
    assert sum(isinstance(part, ClassicDropout) for part in twin) == 2
    with torch.no_grad():
        wanted = network.module(rows)
        assert torch.allclose(scaled_down(twin).eval()(rows), wanted, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(twin.eval()(rows), wanted, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("kind", "fair"), [(nn.Dropout, True), (broken.Unscaled, False), (broken.WrongRate, False)])
def test_the_mean_over_masks_is_that_of_the_layer_that_trains(kind: type[nn.Dropout], fair: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), kind(0.5), nn.Linear(32, 3))
    _, share = off_in_expectation(network, torch.rand(8, 4), 0, False, 0.001)
    assert (share <= 1) == fair
