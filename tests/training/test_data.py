import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from training.data import Dataset, deal, load_data, split_data
from training.errors import TrainingError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def test_digits_are_those_of_scikit_learn(digits: Dataset) -> None:
    bunch = load_digits()
    np.testing.assert_array_equal(digits.inputs, bunch.data)
    np.testing.assert_array_equal(digits.targets, bunch.target)
    assert digits.features[:2] == ("pixel_0_0", "pixel_0_1")
    assert digits.labels == tuple("0123456789")


def test_the_digest_is_of_the_values_and_their_order(digits: Dataset) -> None:
    content = load_digits().data.astype("<f4").tobytes() + load_digits().target.astype("<i8").tobytes()
    assert digits.sha256 == hashlib.sha256(content).hexdigest()


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=200),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 2**63 - 1),
)
def test_every_row_is_dealt_once_and_every_class_evenly(
    classes: list[int], first: float, second: float, seed: int
) -> None:
    targets = np.array(classes)
    parts = deal(targets, (first, first + second), seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))
    for label in np.unique(targets):
        of_class = int((targets == label).sum())
        for part, share in zip(parts, (first, second, 1 - first - second), strict=True):
            assert abs(int((targets[part] == label).sum()) - share * of_class) <= 1


def test_the_seed_decides_the_split(digits: Dataset) -> None:
    once, again, other = (split_data(digits, 0.1, 0.2, 0.2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once.test.inputs, again.test.inputs)
    assert not np.array_equal(once.test.inputs, other.test.inputs)
    parts = (once.train, once.validation, once.calibration, once.test)
    assert [len(part.targets) for part in parts] == [899, 179, 360, 359]
    images = np.concatenate([part.inputs for part in parts])
    np.testing.assert_array_equal(np.unique(images, axis=0), np.unique(digits.inputs, axis=0))


def test_too_few_rows_are_refused(digits: Dataset) -> None:
    few = Dataset("few", digits.inputs[:3], digits.targets[:3], digits.features, digits.labels, True)
    with pytest.raises(TrainingError, match="few has 3 rows, too few"):
        split_data(few, 0.1, 0.2, 0.2, 0)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(TrainingError, match="there is no data set 'x'; there are: digits"):
        load_data("x")
