from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data import Dataset, Split
from training.errors import TrainingError
from training.loop.checkpoint import load, resumed
from training.loop.log_files import Epoch, logged
from training.loop.train import Trained, train
from training.networks.layers import Standardise
from training.networks.network import make_mlp


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


class Interrupted(Exception):
    pass


def test_a_run_that_is_gone_on_with_gives_the_same_weights_bit_for_bit(
    digits: Dataset, split: Split, tmp_path: Path
) -> None:
    whole = quick(digits, split, epochs=5)
    file, log = tmp_path / "run.pt", tmp_path / "log.csv"
    config = TrainConfig.model_validate({"hidden": (32,), "epochs": 5, "device": "cpu", "checkpoint": file, "log": log})

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(config, digits, split, stop)
    assert (load(file).epoch, len(log.read_text().splitlines())) == (2, 4)  # stopped between telling and keeping
    torch.manual_seed(99)
    seen: list[Epoch] = []
    again = resumed(TrainConfig(resume=file, log=log), load(file))
    trained = train(again, digits, split, seen.append)
    assert [epoch.number for epoch in seen] == [3, 4, 5]
    assert all(torch.equal(weights(whole)[name], weights(trained)[name]) for name in weights(whole))
    assert trained.best == whole.best
    lines = log.read_text().splitlines()
    assert lines[0] == "epoch,train_loss,validation_loss,validation_score"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4", "5"]
    assert lines[3:] == [",".join(map(str, shown(epoch))) for epoch in seen]
    changed = replace(digits, inputs=digits.inputs + 1)
    with pytest.raises(TrainingError, match="the data is not that of the run to resume"):
        train(again, changed, split, seen.append)
    with pytest.raises(TrainingError, match="--hidden: the run to resume has \\(32,\\); leave --hidden out"):
        resumed(TrainConfig(resume=file, hidden=(8,)), load(file))


def shown(epoch: Epoch) -> tuple[float, ...]:
    return epoch.number, epoch.train_loss, epoch.validation_loss, epoch.validation_score


def test_a_log_is_cut_to_the_epochs_before_the_one_that_is_told(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("epoch,train_loss,validation_loss,validation_score\n1,2,2,0\n2,1,1,0\n3,0.5,0.")
    write = logged(lambda _: None, file, anew=False)
    write(Epoch(2, 9, 0.75, 0.5, 0.25))
    write(Epoch(3, 9, 0.5, 0.25, 0.5))
    assert file.read_text().splitlines()[1:] == ["1,2,2,0", "2,0.75,0.5,0.25", "3,0.5,0.25,0.5"]
    file.write_text("what I must not forget\nmilk, bread\n")
    with pytest.raises(TrainingError, match=r"log\.csv: is not the log of a training run; name another file"):
        logged(lambda _: None, file, anew=False)(Epoch(2, 9, 1, 1, 0))
    assert file.read_text() == "what I must not forget\nmilk, bread\n"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no checkpoint")
    with pytest.raises(TrainingError, match="x: is not the checkpoint of a training run"):
        load(tmp_path / "x")
    with pytest.raises(TrainingError, match="y: cannot be read: No such file"):
        load(tmp_path / "y")


def normalised() -> nn.Module:
    """Whose BatchNorm cannot learn from a single row."""
    return nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 10))


def test_batchnorm_never_sees_a_single_row_but_where_it_was_asked_for(digits: Dataset, split: Split) -> None:
    module = "tests.training.loop.test_train:normalised"
    size = next(size for size in range(64, 1000) if len(split.train.targets) % size == 1)
    assert quick(digits, split, epochs=1, batch_size=size, module=module).best.number == 1
    with pytest.raises(TrainingError, match="batch_size: is 1, and the network has BatchNorm, which needs two rows"):
        quick(digits, split, epochs=1, batch_size=1, module=module)


def test_it_stops_early_where_nothing_improves(digits: Dataset, split: Split) -> None:
    epochs: list[Epoch] = []
    settings = {"hidden": (256,), "dropout": 0.05, "learning_rate": 0.03, "early_stopping": 2}
    trained = quick(digits, split, epochs, epochs=40, **settings)
    assert epochs[-1].number == trained.best.number + 2 < 40


def test_memory_that_is_too_small_is_told(digits: Dataset, split: Split) -> None:
    with pytest.raises(TrainingError, match="the memory of cpu is too small for this network and data; --batch-size"):
        quick(digits, split, hidden=(10**13,))


def test_statistics_are_those_of_the_training_part(digits: Dataset, split: Split) -> None:
    found = weights(quick(digits, split, epochs=1))
    np.testing.assert_allclose(found["standardise.mean"], split.train.inputs.mean(axis=0), atol=1e-5)
    common = np.sqrt(split.train.inputs.var(axis=0).mean())
    np.testing.assert_allclose(found["standardise.spread"], np.full(64, common), rtol=1e-5)


def test_standardised_columns_have_mean_0_and_spread_1_and_constant_ones_are_0() -> None:
    rows = torch.tensor([[1.0, 10.0, 3.0], [2.0, 30.0, 3.0], [6.0, 20.0, 3.0]])
    found = Standardise(rows)(rows)
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
    network = make_mlp(OrderedDict(), 3, (8, 8), 2, p, input_p)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == sites
    assert network(torch.rand(5, 3)).shape == (5, 2)
