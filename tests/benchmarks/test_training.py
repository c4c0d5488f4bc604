"""Turns → samples a second → ratios; and who is taken for somebody who learns."""

import numpy as np
import pytest
import torch

from benchmarks.training.contenders import OURS, PLAIN
from benchmarks.training.measure import BAND, Cell, DoesNotLearn, alternated, verified
from benchmarks.training.networks import BATCH, NETWORKS, make_rows
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
    with pytest.raises(DoesNotLearn, match=r"its loss of 0\.900 is more than 0\.25 from ours, 0\.400"):
        verified(0.9, 0.4)
    for loss in (2.2, float("nan")):
        with pytest.raises(DoesNotLearn, match="is not half that of chance"):
            verified(loss, None)


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
