"""The training flag decides; a network on which it does not is reported."""

from dataclasses import replace

from torch import nn

from tests.training.behaviour import broken
from training.behaviour.flag import flag
from training.behaviour.networks import Network
from training.behaviour.settings import QUICK


def test_the_flag_decides_and_onnxruntime_drops_dropout(network: Network) -> None:
    claim = flag(network, QUICK)
    found = {finding.what: finding.found for finding in claim.findings}
    assert claim.holds, [finding for finding in claim.findings if not finding.holds]
    assert found[f"torch, train(), requires_grad=False: different answers in {QUICK.calls} calls"].startswith("5, ")
    assert found[f"onnxruntime's default session on it: different answers in {QUICK.calls} calls"] == "1"
    assert found["Dropout operators with training_mode=true in the exported graph"] == "2"
    assert found[f"Dropserve's sample.onnx, masks as inputs: different answers in {QUICK.calls} passes"] == "5"
    assert not network.module.training
    assert all(parameter.requires_grad for parameter in network.module.parameters())


def test_dropout_that_the_flag_does_not_stop(network: Network) -> None:
    parts = network.module.children()
    module = nn.Sequential(*(broken.Lasting(0.5) if isinstance(part, nn.Dropout) else part for part in parts))
    claim = flag(replace(network, module=module), QUICK)
    assert not claim.holds
    assert any("eval()" in finding.what for finding in claim.findings if not finding.holds)
