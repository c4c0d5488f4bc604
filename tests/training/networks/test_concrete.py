"""Dropout whose probability is learned: its draws, what it costs, and that what is published has what was learned."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli

from training.config import TrainConfig, load_config
from training.data import Dataset, Split, split_data
from training.errors import ConfigError, TrainingError
from training.exporting.export import export
from training.exporting.verify import verify
from training.loop.log_files import Epoch
from training.loop.loss import Loss
from training.loop.prior import concrete_penalty
from training.loop.train import Run, Trained, train
from training.networks.architecture import make_network
from training.networks.concrete import LEAST, MOST, START, ConcreteDropout, with_learned_dropout
from training.pipeline import settled

ROWS = torch.ones(400, 50)


def layer(p: float, kind: type[nn.Dropout] | type[nn.Dropout2d] = nn.Dropout) -> ConcreteDropout:
    made = ConcreteDropout(50, kind)
    nn.init.constant_(made.logit, math.log(p / (1 - p)))
    return made


# the layer


def test_it_drops_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    kept = layer(0.3)(ROWS).detach() * 0.7
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    assert ((kept < 0.05) | (kept > 0.95)).float().mean() > 0.75  # most are dropped whole or not at all
    assert kept.round().mean() == pytest.approx(0.7, abs=0.02)


def test_the_slope_in_p_is_that_of_the_mean() -> None:
    """Of sums of what is dropped from unequal values the mean is Σ p v, hence its slope Σ v."""
    torch.manual_seed(0)
    drop, values = layer(0.3), torch.rand(20_000, 50)
    dropped = values - (1 - drop.p) * drop(values)
    slope_of_logit = torch.autograd.grad(dropped.sum(dim=1).mean(), drop.logit)[0]
    expected = values.sum(dim=1).mean() * 0.3 * 0.7  # dp / dlogit = p (1-p)
    assert slope_of_logit.item() == pytest.approx(expected.item(), rel=0.05)


def test_channels_are_dropped_whole() -> None:
    images = torch.ones(8, 50, 4, 4)
    torch.manual_seed(0)
    kept = layer(0.5, nn.Dropout2d)(images)
    assert (kept == kept[:, :, :1, :1]).all()
    assert not (kept[:, :, 0, 0] == kept[:, :1, 0, 0]).all()


def test_without_training_nothing_is_dropped() -> None:
    assert layer(0.5).eval()(ROWS) is ROWS


@pytest.mark.parametrize("logit", [-120.0, -2.0, 0.0, 3.0, 120.0])
def test_entropy(logit: float) -> None:
    drop = ConcreteDropout(1)
    nn.init.constant_(drop.logit, logit)
    drop.entropy.backward()  # type: ignore[no-untyped-call]
    expected = Bernoulli(logits=torch.tensor(logit, dtype=torch.float64)).entropy()  # type: ignore[no-untyped-call]
    assert drop.entropy.item() == pytest.approx(expected.item(), abs=1e-6)
    assert drop.logit.grad is not None
    assert drop.logit.grad.isfinite()


def test_what_it_costs_is_the_papers_formula() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), ConcreteDropout(5), nn.Linear(5, 2))
    one, two = (part.weight for part in network if isinstance(part, nn.Linear))
    p, length_scale, rows = START, 0.3, 70
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    matrices = one.square().sum() + (1 - p) * (two / (1 - p)).square().sum()  # of M, which is what is kept times W
    expected = length_scale**2 * matrices.item() / (2 * rows) - 5 * entropy / rows
    found = concrete_penalty(network, length_scale, rows)
    assert isinstance(found, torch.Tensor)
    assert found.item() == pytest.approx(expected, rel=1e-5)


# in training


def quick(data: Dataset, split: Split, seen: list[Epoch] | None = None, **settings: object) -> Trained:
    asked = {"hidden": (32,), "epochs": 4, "device": "cpu", "dropout": "learned", "weight_decay": 0, **settings}
    return train(TrainConfig.model_validate(asked), data, split, (seen if seen is not None else []).append)


def rates(network: nn.Module) -> list[float]:
    return [part.p for part in network.modules() if isinstance(part, nn.Dropout | nn.Dropout2d)]


@pytest.mark.parametrize(
    ("network", "kinds"),
    [("mlp", [nn.Dropout] * 2), ("resnet", [nn.Dropout2d, nn.Dropout2d, nn.Dropout2d, nn.Dropout])],
)
def test_the_usual_layers_have_what_was_learned(digits: Dataset, network: str, kinds: list[type[nn.Module]]) -> None:
    data = digits if network == "mlp" else replace(digits, inputs=digits.inputs.reshape(-1, 1, 8, 8), features=())
    parts = split_data(data, 0.2, 0.2, 0.2, 0)
    trained = quick(data, parts, network=network, hidden=(32, 16), epochs=2).network
    found = [type(part) for part in trained.modules() if isinstance(part, nn.Dropout | nn.Dropout2d)]
    assert found == kinds
    assert not any(isinstance(part, ConcreteDropout) for part in trained.modules())
    assert all(0 < p < 1 and p != START for p in rates(trained))
    exported = export(trained, (torch.from_numpy(parts.test.inputs[:4]),))
    assert [site.p for site in exported.sites] == pytest.approx(rates(trained), rel=1e-6)


@pytest.mark.parametrize(("logit", "published"), [(-40.0, LEAST), (40.0, MOST)])
def test_what_was_learned_near_0_and_1_can_be_published(logit: float, published: float) -> None:
    drop = ConcreteDropout(50)
    nn.init.constant_(drop.logit, logit)
    network = with_learned_dropout(nn.Sequential(nn.Linear(3, 50), nn.ReLU(), drop, nn.Linear(50, 2))).eval()
    example = (torch.rand(9, 3),)
    verified = verify(network, export(network, example), example)
    assert [site.p for site in verified.sites] == [published]


def test_lenet_learns_it_for_both_its_layers() -> None:
    images = torch.rand(4, 1, 16, 16)
    data = Dataset("squares", images.numpy(), np.array([0, 1, 0, 1]), (), ("a", "b"), True)
    network = make_network(TrainConfig.model_validate({"dropout": "learned", "hidden": (500,)}), data, images)
    assert [part.units for part in network.modules() if isinstance(part, ConcreteDropout)] == [50, 500]
    assert network.train()(images).shape == (4, 2)
    assert rates(with_learned_dropout(network)) == pytest.approx([START] * 2)


def test_weight_decay_is_of_weights_alone(digits: Dataset, split: Split) -> None:
    """After one step, to which the decay is all that differs."""
    rows = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)

    def step(weight_decay: float) -> dict[str, torch.Tensor]:
        asked = {"dropout": "learned", "weight_decay": weight_decay, "batch_size": len(rows[0]), "learning_rate": 0.1}
        config = TrainConfig.model_validate(asked)
        torch.manual_seed(0)
        network = make_network(config, digits, rows[0])
        Run(config, digits, network, Loss(config, None, len(rows[0])), rows, torch.device("cpu")).one_pass()
        return network.state_dict()

    without, decayed = step(0.0), step(30.0)
    assert without["dropout_1.logit"] == decayed["dropout_1.logit"] != ConcreteDropout(1).logit
    assert decayed["hidden_1.weight"].norm() < 0.95 * without["hidden_1.weight"].norm()


def test_many_rows_allow_less_dropout_than_few() -> None:
    """What a network does not know for want of rows, as Gal, Hron & Kendall show it in section 4."""

    def learned(count: int, epochs: int) -> list[float]:
        rng = np.random.default_rng(5)
        inputs = rng.uniform(-3, 3, (count, 2)).astype(np.float32)
        targets = np.sin(inputs[:, :1]) + 0.2 * rng.normal(size=(count, 1)).astype(np.float32)
        data = Dataset("waves", inputs, targets.astype(np.float32), ("a", "b"), (), False)
        parts = split_data(data, 0.1, 0.2, 0.2, 0)
        return rates(quick(data, parts, noise="learned", epochs=epochs, learning_rate=0.01).network)

    few, many = learned(200, epochs=200), learned(4000, epochs=20)  # much the same number of steps
    assert all(0 < p < 1 for p in few + many)
    assert min(few) > 2 * max(many)


class Interrupted(Exception):
    pass


def test_a_run_that_is_gone_on_with_learns_the_same_bit_for_bit(digits: Dataset, split: Split, tmp_path: Path) -> None:
    whole = quick(digits, split)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Interrupted

    file = tmp_path / "run.pt"
    asked = {"hidden": (32,), "epochs": 4, "device": "cpu", "dropout": "learned", "weight_decay": 0}
    config = TrainConfig.model_validate(asked)
    with pytest.raises(Interrupted):
        train(config.model_copy(update={"checkpoint": file}), digits, split, stop)
    again = train(config.model_copy(update={"checkpoint": file, "resume": file}), digits, split, lambda _: None)
    assert rates(whole.network) == rates(again.network)
    states = whole.network.state_dict(), again.network.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# what is asked for


def test_of_a_regression_the_noise_is_learned_unless_it_is_fixed() -> None:
    data = Dataset("line", np.zeros((9, 2), np.float32), np.zeros((9, 1), np.float32), ("a", "b"), (), False)
    learned = settled(TrainConfig(dropout="learned"), data, 9)
    assert (learned.noise, learned.dropout, learned.weight_decay) == ("learned", "learned", 0.0)
    assert settled(TrainConfig(dropout="learned", noise="fixed", tau=3), data, 9).noise == "fixed"
    assert settled(TrainConfig(dropout="learned", weight_decay=0.1), data, 9).weight_decay == 0.1
    with pytest.raises(TrainingError, match="noise: learned dropout depends on it"):
        settled(TrainConfig(dropout="learned", noise="fitted"), data, 9)


def test_of_inputs_and_of_modules_of_ones_own_it_is_not_learned() -> None:
    with pytest.raises(ConfigError, match=r"--input-dropout: must be a valid number.*it is not learned"):
        load({"input_dropout": "learned"})
    with pytest.raises(ConfigError, match="dropout learned is for built-in networks"):
        load({"dropout": "learned", "module": "nets:make"})
    with pytest.raises(ConfigError, match=r"--dropout: must be a valid number.*or learned"):
        load({"dropout": "much"})


def load(flags: dict[str, str]) -> TrainConfig:
    return load_config(None, flags)
