"""The expected coverage of prediction sets on test rows, and warnings of a coverage outside it."""

import numpy as np
import pytest

from service.model.manifest import AbstentionThreshold, Manifest
from training.evidence.calibrate import conformal_quantiles
from training.evidence.reliability import reliability_warnings

RNG = np.random.default_rng(11)


def test_the_band_holds_for_99_of_100_tests_of_like_rows() -> None:
    """By simulation, of scores without ties: what is found lies below and above as often as the tails say."""
    (found,) = conformal_quantiles(RNG.random(99), (0.9,), test_rows=150)
    assert found.expected is not None
    quantiles = np.sort(RNG.random((20_000, 99)), axis=1)[:, 89]  # the 90th of 99
    covered = (RNG.random((20_000, 150)) <= quantiles[:, None]).mean(axis=1)
    below, above = (covered < found.expected[0]).mean(), (covered > found.expected[1]).mean()
    assert 0.002 < below < 0.0065
    assert 0.001 < above < 0.0065


def test_equal_scores_may_cover_more() -> None:
    """Of scores 0 for most rows, as of a network that is sure, every quantile up to their share covers all of them."""
    scores = np.where(np.arange(1000) < 930, 0.0, RNG.random(1000))
    by_coverage = {found.coverage: found for found in conformal_quantiles(scores, test_rows=1000)}
    assert by_coverage[0.8].quantile == by_coverage[0.9].quantile == 0
    low, high = by_coverage[0.8].expected or (1, 0)
    assert low < 0.8 < 0.93 < high < 0.97
    (alike,) = conformal_quantiles(np.zeros(50), (0.9,), test_rows=20)
    assert alike.expected is not None
    assert alike.expected[1] == 1


def test_without_test_rows_nothing_is_expected() -> None:
    assert {found.expected for found in conformal_quantiles(RNG.random(200))} == {None}


@pytest.fixture
def calibrated(manifest: Manifest) -> Manifest:
    """As of 12,000 calibration rows and 10,000 test rows."""
    quantiles = conformal_quantiles(RNG.random(12_000), (0.95, 0.99), test_rows=10_000)
    threshold = AbstentionThreshold(error_rate=0.01, threshold=0.3, coverage=0.6)
    return manifest.model_copy(update={"conformal": quantiles, "abstention": (threshold,)})


def test_coverage_outside_the_band_is_a_warning(calibrated: Manifest) -> None:
    found = {"deterministic": {"coverage_0.95": 0.942, "coverage_0.99": 0.9895}, "mc": {}}
    (said,) = reliability_warnings(found, calibrated, 10_000)
    assert said.startswith(
        "the test rows seem to differ from those calibrated on: sets of a stated coverage hold the truth of"
    )
    assert " 0.942 for 0.95 (0.9422 to 0.9574), in brackets" in said
    assert "for 0.99" not in said
    inside = {"deterministic": {"coverage_0.95": 0.9423, "coverage_0.99": 0.99}, "mc": {}}
    assert list(reliability_warnings(inside, calibrated, 10_000)) == []
    above = {"deterministic": {"coverage_0.99": 0.9996}, "mc": {}}
    assert "0.9996 for 0.99" in next(reliability_warnings(above, calibrated, 10_000))


def test_more_errors_than_chance_explains_are_a_warning(calibrated: Manifest) -> None:
    found = {"deterministic": {}, "mc": {"accepted_0.01": 0.6, "error_rate_0.01": 0.0137}}
    (said,) = reliability_warnings(found, calibrated, 10_000)
    assert "of the rows accepted for a stated error rate a share of 0.0137 for 0.01 is wrong" in said
    for kept in ({"accepted_0.01": 0.6, "error_rate_0.01": 0.012}, {"accepted_0.01": 0.0}):
        assert list(reliability_warnings({"deterministic": {}, "mc": kept}, calibrated, 10_000)) == []
