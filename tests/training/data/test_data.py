import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from training.data import Dataset, deal, load_data, split_data
from training.errors import TrainingError


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


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=40, max_size=150),
    st.booleans(),
    st.integers(0, 20),
    st.integers(0, 2**63 - 1),
)
def test_equal_rows_are_never_in_two_parts(
    rows: list[tuple[int, int]], regression: bool, own_test_rows: int, seed: int
) -> None:
    inputs = np.array([[value] for value, _ in rows], dtype=np.float32)
    inputs[::2] *= np.where(inputs[::2] == 0, -1, 1)  # 0.0 and -0.0 are equal
    classes = np.array([label for _, label in rows])
    targets = classes[:, None].astype(np.float32) if regression else classes
    labels = () if regression else ("a", "b", "c")
    data = Dataset("some", inputs, targets, ("x",), labels, False, own_test_rows=own_test_rows)
    try:
        split = split_data(data, 0.2, 0.2, 0.2, seed)
    except TrainingError as error:
        assert "too few" in error.message  # noqa: PT017
        return
    parts = [split.train, split.validation, split.calibration, split.test]
    values = [set(part.inputs[:, 0].tolist()) for part in parts]
    assert sum(map(len, values)) == len(set().union(*values))
    if own_test_rows:
        np.testing.assert_array_equal(split.test.inputs, inputs[-own_test_rows:])
    else:
        assert sum(len(part.targets) for part in parts) == len(rows)


def test_a_regressions_parts_have_targets_of_the_same_spread() -> None:
    targets = np.random.default_rng(0).exponential(size=(500, 1)).astype(np.float32)
    data = Dataset("some", np.arange(500, dtype=np.float32)[:, None], targets, ("x",), (), False)
    split = split_data(data, 0.2, 0.2, 0.2, 0)
    for part in (split.train, split.validation, split.calibration, split.test):
        share = (part.targets > np.quantile(targets, 0.9)).mean()
        assert abs(share - 0.1) < 0.011


def test_too_few_rows_are_refused(digits: Dataset) -> None:
    few = Dataset("few", digits.inputs[:3], digits.targets[:3], digits.features, digits.labels, True)
    with pytest.raises(TrainingError, match="few has 3 rows, too few"):
        split_data(few, 0.1, 0.2, 0.2, 0)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(TrainingError, match="there is no data set 'x'; there are: digits"):
        load_data("x")
