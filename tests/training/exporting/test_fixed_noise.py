"""Noise of a fixed precision: its penalty of the weights is that of Gal & Ghahramani (2016)."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.model.manifest import Noise
from training.config import TrainConfig, load_config
from training.data import Dataset, load_data, split_data
from training.errors import ConfigError, TrainingError
from training.loop.log_files import Epoch
from training.loop.loss import Loss
from training.loop.prior import LENGTH_SCALE, concrete_penalty, weight_penalty, weights_behind_dropout
from training.loop.train import train
from training.networks.concrete import START, ConcreteDropout
from training.networks.layers import InTargetsUnit
from training.networks.network import Residual, make_mlp
from training.pipeline import run, settled

TAU, SCALE = 0.04, 30.0
TARGETS = torch.tensor([[10.0], [20.0], [60.0]])


def network(p: float) -> nn.Sequential:
    torch.manual_seed(0)
    return make_mlp(OrderedDict(), 3, (8, 6), 1, p, p)


def matrices(net: nn.Module) -> list[Tensor]:
    return [part.weight for part in net.modules() if isinstance(part, nn.Linear)]


def test_it_minimises_twice_the_papers_objective_in_variances_of_the_target() -> None:
    """½ (y - ŷ)² + l²(1-p)/(2Nτ) ‖M‖², all in the target's unit; ours has no ½, and a standardised target.

    M is what a unit that is kept, and not divided by 1-p, is multiplied by to give what torch's dropout and W give.
    """
    p, rows, unit, net = 0.4, 900, InTargetsUnit(TARGETS), network(0.4)
    loss = Loss(TrainConfig(noise="fixed", tau=TAU, length_scale=SCALE), unit, rows)
    answers, standardised = torch.zeros(3, 1), unit.standardised(TARGETS)

    half_squares = (unit(answers) - TARGETS).square().mean() / 2
    papers = half_squares + SCALE**2 * (1 - p) / (2 * rows * TAU) * sum(
        (weight / (1 - p)).square().sum() for weight in matrices(net)
    )
    ours = loss.of_answers(answers, standardised) + loss.of_network(net)
    torch.testing.assert_close(ours, (2 * papers / unit.spread.square()[0]).float())


def test_fixed_and_learned_dropout_have_one_prior() -> None:
    """They differ by the entropy of the masks, which does not depend on the weights."""
    fixed, learned = network(START), nn.Sequential(*network(START))
    for name, layer in fixed.named_children():
        learned.add_module(name, ConcreteDropout(2) if isinstance(layer, nn.Dropout) else layer)
    penalties = [concrete_penalty(learned, SCALE, 50)]
    for weight in matrices(fixed):
        nn.init.zeros_(weight)
    penalties.append(concrete_penalty(learned, SCALE, 50))
    torch.testing.assert_close(penalties[0] - penalties[1], weight_penalty(network(START), SCALE, 50))


def test_the_length_scale_is_squared_and_rows_outweigh_it() -> None:
    net, unit = network(0.1), InTargetsUnit(TARGETS)
    once, thrice, of_more = (
        torch.as_tensor(
            Loss(TrainConfig(noise="fixed", tau=TAU, length_scale=scale), unit, rows).of_network(net)
        ).item()
        for scale, rows in ((0.1, 100), (0.3, 100), (0.1, 1000))
    )
    assert thrice == pytest.approx(9 * once)
    assert of_more == pytest.approx(once / 10)


def test_each_matrix_has_the_dropout_in_front_of_it() -> None:
    torch.manual_seed(0)
    block = Residual(2, 3, 1)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Dropout2d(0.2), block, nn.Dropout2d(0.1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2)
    )
    assert [float(keep) for _, keep in weights_behind_dropout(net)] == pytest.approx([1, 0.8, 1, 0.8, 0.45])


def test_the_length_scale_that_is_taken_is_told() -> None:
    data = Dataset("line", np.zeros((9, 2), np.float32), np.zeros((9, 1), np.float32), ("a", "b"), (), False)
    for settings in ({"noise": "fixed", "tau": 1.0}, {"dropout": "learned"}):
        config = TrainConfig.model_validate(settings)
        assert settled(config, data, 9).length_scale == LENGTH_SCALE
        assert settled(TrainConfig.model_validate(settings | {"length_scale": 2.0}), data, 9).length_scale == 2
    assert settled(TrainConfig(), data, 9).length_scale is None


def test_losses_that_are_told_are_without_what_the_weights_cost() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(400, 2)).astype(np.float32)
    data = Dataset("line", inputs, 3 * inputs[:, :1], ("a", "b"), (), False)
    seen: list[Epoch] = []
    asked = {"noise": "fixed", "tau": 1e-4, "length_scale": 10.0, "dropout": 0.01, "epochs": 1, "device": "cpu"}
    train(TrainConfig.model_validate(asked), data, split_data(data, 0.1, 0.2, 0.2, 0), seen.append)
    assert 0.5 < seen[0].train_loss < 2  # variances of the target; the penalty alone is beyond 1000


def test_nothing_is_asked_of_the_network_where_there_is_no_prior() -> None:
    assert Loss(TrainConfig(), InTargetsUnit(TARGETS), 9).of_network(network(0.1)) == 0.0
    assert Loss(TrainConfig(), None, 9).of_network(network(0.1)) == 0.0


def test_what_is_published_is_what_was_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(300, 2))
    table = np.hstack([inputs, 100 * inputs[:, :1] + rng.normal(size=(300, 1))])
    file = tmp_path / "line.csv"
    np.savetxt(file, table, delimiter=",", header="a,b,y", comments="", fmt="%.6f")
    said: list[str] = []
    asked = {"data": str(file), "target": "y", "noise": "fixed", "tau": 0.25, "models": tmp_path, "device": "cpu"}
    config = TrainConfig.model_validate(asked | {"hidden": (8,), "epochs": 3, "passes": 5, "length_scale": 0.5})
    _, manifest = run(config, said.append, lambda _: None)
    assert manifest.noise == Noise(std=2.0)
    assert {
        "noise": "fixed",
        "tau": 0.25,
        "length_scale": 0.5,
        "weight_decay": 0.0,
    }.items() <= manifest.training.items()
    assert not any(line.startswith("fit:") for line in said)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"noise": "fixed"}, "noise fixed needs tau, its precision"),
        ({"tau": "3"}, "tau is the precision of fixed noise, and noise is fitted"),
        ({"tau": "3", "noise": "learned"}, "and noise is learned; set noise to fixed"),
        ({"tau": "0", "noise": "fixed"}, "--tau: must be greater than 0"),
        (
            {"length_scale": "0.1"},
            "length_scale is the prior of the weights, which only noise fixed and dropout learned have",
        ),
        ({"noise": "loud"}, "--noise: must be 'fitted', 'learned' or 'fixed'; given: 'loud'"),
    ],
)
def test_what_does_not_go_together(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, flags)


@pytest.mark.parametrize("config", [TrainConfig(noise="learned"), TrainConfig(noise="fixed", tau=1.0)])
def test_classes_have_no_noise(config: TrainConfig) -> None:
    data: Dataset = load_data("digits")
    with pytest.raises(TrainingError, match="noise: is for regressions, and digits has classes"):
        settled(config, data, 900)
