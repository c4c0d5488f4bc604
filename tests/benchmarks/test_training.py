"""Turns → samples a second → ratios; and who is taken for somebody who learns."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.training.contenders import OURS, PLAIN
from benchmarks.training.measure import BAND, FIRST_EPOCHS, Cell, DoesNotLearn, alternated, verified
from benchmarks.training.networks import BATCH, LEARNING_RATE, NETWORKS, WEIGHT_DECAY, Rows, make_rows
from benchmarks.training.report import to_json
from benchmarks.training.torch_network import build


def test_speed_is_that_of_the_median_turn_and_the_ratio_is_ours_to_theirs() -> None:
    cell = Cell("mlp", 1, 1000, {OURS: [1.0, 9.0, 2.0], PLAIN: [3.0, 5.0, 40.0]}, {OURS: 0.1, PLAIN: 0.2}, {})
    assert cell.per_second(OURS) == 500
    assert cell.ratio(PLAIN) == 2.5
    assert to_json(cell)["ratios"] == {"plain torch loop": 2.5}


def test_whoever_does_not_learn_as_we_do_is_refused() -> None:
    assert verified(0.4, None) == 0.4
    assert verified(0.4, 0.4 + 0.9 * BAND) == 0.4
    with pytest.raises(DoesNotLearn, match=r"its loss of 0\.900 is more than 0\.2 from ours, 0\.400"):
        verified(0.9, 0.4)
    for loss in (2.2, float("nan")):
        with pytest.raises(DoesNotLearn, match="is not half that of chance"):
            verified(loss, None)


def loss_of(network: nn.Module, rows: Rows) -> float:
    """In the last of the epochs before anything counts."""
    inputs, targets = map(torch.from_numpy, rows)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(FIRST_EPOCHS):
        losses = []
        for batch in torch.split(torch.randperm(len(inputs)), BATCH):
            loss = cross_entropy(network(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def test_whoever_trains_without_dropout_is_refused() -> None:
    torch.manual_seed(0)
    network = NETWORKS["mlp"]
    rows = make_rows(network, 30, 0)
    ours, again, without = (loss_of(build(network).train(training), rows) for training in (True, True, False))
    assert verified(again, verified(ours, None)) > 0.15
    with pytest.raises(DoesNotLearn, match=r"is more than 0\.2 from ours"):
        verified(without, ours)


def test_nobody_always_follows_the_same_one() -> None:
    assert [list(alternated("abc", repeat)) for repeat in range(2)] == [["a", "b", "c"], ["c", "b", "a"]]


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_the_same_for_everyone_and_fit_the_network(name: str) -> None:
    network = NETWORKS[name]
    once, again = make_rows(network, 2, 0), make_rows(network, 2, 0)
    assert np.array_equal(once[0], again[0])
    assert np.array_equal(once[1], again[1])
    assert once[0].shape == (2 * BATCH, *network.inputs)
    assert build(network)(torch.from_numpy(once[0])).shape == (2 * BATCH, 10)
