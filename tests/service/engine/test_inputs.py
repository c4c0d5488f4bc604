"""Whether all values are finite is found from their sum where that is finite, else from each."""

import numpy as np
import pytest

from service.engine.inputs import all_finite

LARGEST = np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ([], True),
        ([1.0, -2.0], True),
        ([LARGEST, LARGEST, LARGEST], True),  # whose sum is infinite
        ([-LARGEST, -LARGEST], True),
        ([1.0, np.nan], False),
        ([np.inf, 1.0], False),
        ([np.inf, -np.inf], False),  # whose sum is NaN
    ],
)
def test_all_finite(values: list[float], finite: bool) -> None:
    assert all_finite(np.array(values, dtype=np.float32)) is finite
    assert all_finite(np.array([values], dtype=np.float32)) is finite
