"""Squashing is arithmetic on a toy; a network that hangs on one unit does not pass."""

from pathlib import Path

import numpy as np
import pytest

from service.engine.sampling import Ablation, Sampling, share_of_units
from tests.toy import ToyNet
from training.behaviour.groups import Groups
from training.behaviour.redundancy import SHARES, Measured, claim, measure
from training.behaviour.scores import ACCURACY
from training.behaviour.served import Served, open_served
from training.behaviour.settings import QUICK, Settings
from training.data import Part

ALL = Settings(draws=4)


def labelled(toy: ToyNet, rows: int = 200) -> Part:
    inputs = toy.rows(rows)
    return Part(inputs, toy.predict(inputs).argmax(axis=1).astype(np.int64))


def one_unit() -> ToyNet:
    """Whose answer hangs on one unit of 32."""
    toy = ToyNet()
    toy.w1[1:] = 0
    toy.w1[0] = [1, -1, 0]
    toy.b1[:] = [0, 1e-6, -9]
    toy.w0[:, 0], toy.b0[0] = [1, 0, 0, 0], 0
    return toy


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return open_served(ToyNet().publish(tmp_path_factory.mktemp("models")))


def test_nothing_squashed_is_the_prediction_and_losses_are_those_of_single_units(served: Served) -> None:
    toy = ToyNet()
    test = labelled(toy)
    measured = measure(served, test, ACCURACY, ALL)
    assert measured.squashed.shape == SHARES.shape
    assert measured.squashed[0] == 1.0
    assert measured.squashed[-1] < measured.squashed[0]
    masks = (1 - np.eye(toy.hidden, dtype=np.float32))[:, None]
    right = (toy.sample(test.inputs, masks).argmax(axis=-1) == test.targets).mean(axis=1)
    assert measured.losses == pytest.approx(1 - right)


def test_the_first_random_set_is_what_the_service_ablates(served: Served) -> None:
    test = labelled(ToyNet())
    units = share_of_units(ALL.seed, 0, float(SHARES[5]), served.manifest.sites[0].shape)
    asked = Sampling(1, ALL.seed, dropout_rate=0.0, ablations=(Ablation(0, units),))
    answers = served.engine.draw_all({"input": test.inputs}, asked)[0].argmax(axis=1)
    one = measure(served, test, ACCURACY, Settings(draws=1))
    assert one.squashed[5] == (answers == test.targets).mean()


def test_a_network_that_hangs_on_one_unit_does_not_pass(served: Served, tmp_path: Path) -> None:
    toy = one_unit()
    brittle = measure(open_served(toy.publish(tmp_path)), labelled(toy), ACCURACY, QUICK)
    assert brittle.losses.max() > 0.3
    good = Measured(np.linspace(1, 0.5, 10), np.zeros(4))
    worse = Measured(np.linspace(0.9, 0.3, 10), np.zeros(4))
    better = Measured(np.linspace(1, 0.51, 10), np.zeros(4))
    assert claim(Groups({0.0: [worse, worse], 0.2: [good, good], 0.5: [good, better]}, {}), ACCURACY, QUICK).holds
    hanging = Measured(good.squashed, brittle.losses)
    shown = claim(Groups({0.0: [worse, worse], 0.2: [good, good], 0.5: [better, hanging]}, {}), ACCURACY, QUICK)
    assert not shown.holds
    assert [finding.found for finding in shown.findings if finding.holds is False] == [f"{brittle.losses.max():.4f}"]


def test_networks_without_dropout_in_the_place_of_those_with_it() -> None:
    with_, without = Measured(np.linspace(1, 0.5, 10), np.zeros(4)), Measured(np.linspace(0.9, 0.3, 10), np.zeros(4))
    assert not claim(
        Groups({0.0: [with_, with_], 0.2: [with_, with_], 0.5: [without, without]}, {}), ACCURACY, QUICK
    ).holds
    assert not claim(Groups({0.0: [with_, with_], 0.2: [with_, with_], 0.5: [with_, with_]}, {}), ACCURACY, QUICK).holds
