"""Bounds against what scipy says, and against chance itself."""

import math

import numpy as np
import pytest
from scipy import stats

from training.behaviour.bounds import above, within
from training.behaviour.statistics import bernstein, clopper_pearson, mean_of


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 17), (498, 1000)])
def test_clopper_pearson_is_scipys(count: int, of: int) -> None:
    wanted = stats.binomtest(count, of).proportion_ci(0.99, method="exact")
    assert clopper_pearson(count, of, 0.01) == pytest.approx((wanted.low, wanted.high))


def test_sums_rarely_cross_bernsteins_bound_and_it_is_not_far() -> None:
    p, terms = 0.2, 400
    kept = np.random.default_rng(0).random((20_000, terms)) >= p
    sums = (kept / (1 - p) - 1).sum(axis=1)
    bound = float(bernstein(np.array(terms * p / (1 - p)), 1.0, 0.01))
    crossed = float((np.abs(sums) > bound).mean())
    assert 0 < crossed < 0.01


def test_means_over_seeds() -> None:
    values = [1.0, 2.0, 4.0]
    found = mean_of([*values, math.nan])
    assert found.mean == pytest.approx(7 / 3)
    assert found.error == pytest.approx(stats.sem(values))
    assert found.low == pytest.approx(stats.t.interval(0.9, 2, found.mean, found.error)[0])
    assert found.high == pytest.approx(stats.t.interval(0.9, 2, found.mean, found.error)[1])
    assert math.isnan(mean_of([1.0]).low)
    assert math.isnan(mean_of([]).mean)


@pytest.mark.parametrize(
    ("values", "verdict"), [([1.0, 1.1, 1.2], "yes"), ([-1.0, -1.1, -1.2], "no"), ([-1.0, 1.0, 0.5], "not shown")]
)
def test_bounds_that_include_the_limit_show_nothing(values: list[float], verdict: str) -> None:
    assert above("", values).verdict == verdict
    assert above("", [math.nan] * 3).verdict == "not shown"
    assert "seeds" not in above("", values).found
    assert above("", [*values, math.nan]).found.endswith(" (of 3 of 4 seeds; none in the others)")


@pytest.mark.parametrize(
    ("values", "verdict"), [([0.001, -0.001, 0.0], "yes"), ([1.0, 1.1, 1.2], "no"), ([0.02, -0.02, 0.03], "not shown")]
)
def test_near_is_shown_only_by_bounds_that_are(values: list[float], verdict: str) -> None:
    assert within("", values, 0.01).verdict == verdict
