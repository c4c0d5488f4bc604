"""What sound dropout does in a real training, and that no other passes for it."""

import numpy as np
import pytest

from tests.toy import ToyNet
from training.behaviour.activations import activations, served_masks
from training.behaviour.claim import Claim
from training.behaviour.networks import Network, split_of
from training.behaviour.recording import LayerRecord, record_dropout
from training.behaviour.served import Served
from training.config import TrainConfig
from training.data import Dataset
from training.loop.train import train

STEPS = 24


def watched(digits: Dataset, module: str) -> list[LayerRecord]:
    """In a training of that network of `broken`."""
    config = TrainConfig(module=f"tests.training.behaviour.broken:{module}", epochs=3, device="cpu")
    with record_dropout(STEPS, "p = 0.5") as seen:
        train(config, digits, split_of(digits, config, 0), lambda _: None)
    return seen


def failed(claim: Claim) -> list[str]:
    return [finding.what for finding in claim.findings if not finding.holds]


def test_sound_dropout_in_a_real_training(digits: Dataset) -> None:
    seen = watched(digits, "sound")
    assert [(layer.title, layer.p, layer.inputs.shape) for layer in seen] == [
        ("p = 0.5, layer 1", 0.5, (STEPS, 64, 32))
    ]
    claim = activations(seen)
    assert claim.holds, failed(claim)
    assert claim.verdict == "holds"
    zeroed = (seen[0].outputs[seen[0].inputs != 0] == 0).mean()
    assert claim.tables[0].rows[0][2] == f"{zeroed:.4f}"
    assert f"{zeroed:.4f}" in claim.findings[0].found


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        ("wrong_rate", "share of activations zeroed"),
        ("unscaled", "factor of kept activations"),
        ("unscaled", "mean activation"),
        ("shared", "largest correlation of two units"),
        ("same_for_all_rows", "largest correlation of two rows"),
        ("frozen", "largest correlation of two steps"),
    ],
)
def test_other_dropout_does_not_pass(digits: Dataset, module: str, fault: str) -> None:
    claim = activations(watched(digits, module))
    assert claim.verdict == "does not hold here"
    assert any(what.startswith(fault) for what in failed(claim)), failed(claim)


def test_evaluation_is_not_watched(network: Network) -> None:
    with record_dropout(STEPS, "") as seen:
        network.module.eval()(network.example[0])
    assert seen == []


def test_the_masks_of_the_service(network: Network) -> None:
    masks = served_masks(network.served, 3)
    assert activations([masks]).holds
    doubled = np.concatenate([masks.outputs, masks.outputs], axis=-1)
    assert not activations([LayerRecord("doubled", masks.p, np.ones_like(doubled), doubled)]).holds


def test_of_a_model_made_elsewhere() -> None:
    toy = ToyNet()
    engine = toy.engine()
    served = Served(engine.manifest, engine, toy.graph(masked=False), toy.graph(masked=True))
    assert activations([served_masks(served, 0)]).holds
