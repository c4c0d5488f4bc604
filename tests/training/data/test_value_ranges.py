"""What a manifest says of the training rows."""

import numpy as np
import pytest

from service.model.manifest import Seen
from training.data.dataset import MAX_RANGES, value_ranges

ROWS = np.array([[0.1, 7], [0.3, 9], [0.2, 80]], dtype=np.float32)


def test_each_feature_has_its_own() -> None:
    expected = (Seen(lowest=0.1, median=0.2, highest=0.3), Seen(lowest=7, median=9, highest=80))
    assert value_ranges(ROWS, one_unit=False) == expected


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 2, 1)])
def test_what_has_one_unit_has_one(shape: tuple[int, ...]) -> None:
    (seen,) = value_ranges(ROWS.reshape(shape), one_unit=True)
    assert (seen.lowest, seen.highest) == (0.1, 80)
    assert seen.median == pytest.approx(3.65)


def test_of_very_many_features_nothing_is_told() -> None:
    assert len(value_ranges(np.zeros((2, MAX_RANGES), np.float32), one_unit=False)) == MAX_RANGES
    assert value_ranges(np.zeros((2, MAX_RANGES + 1), np.float32), one_unit=False) == ()
