"""Measured points → the line and the exponent."""

import pytest

from benchmarks.growth.fit import fit

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def test_a_line_is_recovered() -> None:
    growth = fit("rows", {size: 3.0 + 0.25 * size for size in SIZES})
    assert growth.start == pytest.approx(3.0)
    assert growth.each == pytest.approx(0.25)
    assert (growth.sizes, growth.seconds[0]) == (list(SIZES), 3.25)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_an_exponent_is_recovered(exponent: float) -> None:
    growth = fit("width", {size: 0.01 * size**exponent for size in SIZES})
    assert growth.exponent == pytest.approx(exponent, abs=1e-9)


def test_the_exponent_is_that_of_the_larger_half() -> None:
    growth = fit("width", {size: 1.0 if size < 8 else size**2 / 64 for size in SIZES})
    assert growth.exponent == pytest.approx(2.0)


def test_small_sizes_count_as_much_as_large_ones() -> None:
    noisy = {size: (3.0 + 0.25 * size) * (1.1 if size == SIZES[-1] else 1.0) for size in SIZES}
    assert fit("rows", noisy).start == pytest.approx(3.0, rel=0.02)
