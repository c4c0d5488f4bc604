import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data import Dataset, Split, load_data, split_data
from training.errors import TrainingError
from training.network import Standardise, make_mlp
from training.train import Epoch, Trained, choose_device, train


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def split(digits: Dataset) -> Split:
    return split_data(digits, 0.2, 0.2, 0.2, 0)


def quick(digits: Dataset, split: Split, seen: list[Epoch] | None = None, **settings: object) -> Trained:
    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 3, "device": "cpu", **settings})
    return train(config, digits, split, (seen if seen is not None else []).append)


def weights(trained: Trained) -> dict[str, Tensor]:
    return trained.network.state_dict()


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits: Dataset, split: Split) -> None:
    once, again, other = (weights(quick(digits, split, seed=seed)) for seed in (5, 5, 6))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["hidden_1.weight"], other["hidden_1.weight"])


def test_it_learns(digits: Dataset, split: Split) -> None:
    epochs: list[Epoch] = []
    trained = quick(digits, split, epochs, epochs=20)
    assert [epoch.number for epoch in epochs] == list(range(1, 21))
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert trained.best.validation_score > 0.9


def test_the_best_epoch_is_kept(digits: Dataset, split: Split) -> None:
    epochs: list[Epoch] = []
    trained = quick(digits, split, epochs, epochs=40, hidden=(256,), dropout=0.05, learning_rate=0.03)
    assert trained.best == min(epochs, key=lambda epoch: epoch.validation_loss)
    assert trained.best.number < 40  # it overfits, so that the last epoch would show
    with torch.no_grad():
        logits = trained.network(torch.from_numpy(split.validation.inputs))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(split.validation.targets)).item()
    assert loss == pytest.approx(trained.best.validation_loss, rel=1e-5)
    assert not trained.network.training


def test_a_loss_that_is_not_finite_stops_it(digits: Dataset, split: Split) -> None:
    with pytest.raises(TrainingError, match=r"no longer a finite number in epoch 1 of 3; a learning_rate below 1e\+30"):
        quick(digits, split, learning_rate=1e30)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(TrainingError, match="has no cuda; use cpu or auto"):
        choose_device("cuda:1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
def test_training_on_cuda(digits: Dataset, split: Split) -> None:
    trained = quick(digits, split, epochs=20, device="auto")
    assert trained.device == "cuda"
    assert trained.best.validation_score > 0.9
    with pytest.raises(TrainingError, match=r"there is no cuda:99; the last one is cuda:\d+"):
        choose_device("cuda:99")


def test_statistics_are_those_of_the_training_part(digits: Dataset, split: Split) -> None:
    found = weights(quick(digits, split, epochs=1))
    np.testing.assert_allclose(found["standardise.mean"], split.train.inputs.mean(axis=0), atol=1e-5)
    common = np.sqrt(split.train.inputs.var(axis=0).mean())
    np.testing.assert_allclose(found["standardise.spread"], np.full(64, common), rtol=1e-5)


def test_standardised_columns_have_mean_0_and_spread_1_and_constant_ones_are_0() -> None:
    rows = torch.tensor([[1.0, 10.0, 3.0], [2.0, 30.0, 3.0], [6.0, 20.0, 3.0]])
    found = Standardise(rows, one_unit=False)(rows)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3))
    torch.testing.assert_close(found.square().mean(dim=0), torch.tensor([1.0, 1.0, 0.0]))


def test_columns_in_one_unit_keep_their_proportions() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 10.0]])
    found = Standardise(rows, one_unit=True)(rows)
    torch.testing.assert_close(found[1] - found[0], torch.tensor([1.0, 10.0]) / (25.25 / 2) ** 0.5)
    assert Standardise(torch.ones(3, 2), one_unit=True)(torch.ones(3, 2)).abs().max() == 0


@pytest.mark.parametrize(
    ("p", "input_p", "sites"), [(0.5, 0.0, [0.5, 0.5]), (0.5, 0.1, [0.1, 0.5, 0.5]), (0.0, 0.1, [0.1])]
)
def test_where_nothing_is_dropped_there_is_no_dropout(p: float, input_p: float, sites: list[float]) -> None:
    network = make_mlp(Standardise(torch.rand(4, 3), one_unit=False), (8, 8), 2, p, input_p)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == sites
    assert network(torch.rand(5, 3)).shape == (5, 2)
