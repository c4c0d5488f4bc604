"""Reliability checks: prediction sets, intervals and thresholds on rows that they were not fitted to."""

import math
from collections.abc import Iterator

from scipy.stats import binom

from service.engine.decisions import accept, half_widths, prediction_sets
from service.engine.uncertainty import ClassUncertainty
from service.model.manifest import AbstentionThreshold, ConformalQuantile, Manifest
from training.evidence.calibrate import EXPECTED
from training.evidence.metrics import Figures, Float64, Int64
from training.evidence.metrics.classes import right, set_coverage, set_size
from training.evidence.metrics.values import interval_coverage

DIFFER = "the test rows seem to differ from those calibrated on"


def set_figures(probabilities: Float64, targets: Int64, quantile: ConformalQuantile) -> dict[str, float]:
    """Return coverage and size of the service's prediction sets for deterministic probabilities (rows, classes)."""
    members = prediction_sets(probabilities, quantile)
    aim = f"{quantile.coverage:g}"
    return {f"coverage_{aim}": set_coverage(members, targets), f"set_size_{aim}": set_size(members)}


def interval_figures(
    values: Float64, targets: Float64, quantile: ConformalQuantile, noise_std: Float64 | None = None
) -> dict[str, float]:
    """Return coverage and width of the service's intervals about a regression's deterministic values.

    All arrays are (rows, outputs).
    """
    half_width = half_widths(values, noise_std, quantile)
    aim = f"{quantile.coverage:g}"
    return {
        f"coverage_{aim}": interval_coverage(values, half_width, targets),
        f"width_{aim}": float(2 * half_width.mean()),
    }


def threshold_figures(
    uncertainty: ClassUncertainty, targets: Int64, threshold: AbstentionThreshold
) -> dict[str, float]:
    """Return the share of rows that the threshold accepts, and the share of wrong answers among them."""
    accepted = accept(uncertainty.predictive_entropy, threshold)
    wrong = ~right(uncertainty.mean, targets)[accepted]
    aim = f"{threshold.error_rate:g}"
    return {
        f"accepted_{aim}": float(accepted.mean()),
        f"error_rate_{aim}": float(wrong.mean()) if accepted.any() else math.nan,
    }


def reliability_warnings(found: Figures, manifest: Manifest, rows: int) -> Iterator[str]:
    """Yield a warning where these figures of `rows` test rows contradict the stated coverages or error rates."""
    yield from _coverages(found, manifest)
    yield from _error_rates(found, manifest, rows)


def _coverages(found: Figures, manifest: Manifest) -> Iterator[str]:
    outside = [
        f"{covered:.4g} for {quantile.coverage:g} ({quantile.expected[0]:.4g} to {quantile.expected[1]:.4g})"
        for quantile in manifest.conformal
        if (covered := found["deterministic"].get(f"coverage_{quantile.coverage:g}")) is not None
        and quantile.expected
        and not quantile.expected[0] <= covered <= quantile.expected[1]
    ]
    if outside:
        sets = "sets" if manifest.labels else "intervals"
        yield (
            f"{DIFFER}: {sets} of a stated coverage hold the truth of {', '.join(outside)}, in brackets the"
            f" {EXPECTED:.0%} band of rows like those; no coverage is guaranteed for rows like the test rows"
        )


def _error_rates(found: Figures, manifest: Manifest, rows: int) -> Iterator[str]:
    """Yield a warning where more accepted rows are wrong than chance explains, with probability EXPECTED."""
    above = []
    for threshold in manifest.abstention:
        aim = f"{threshold.error_rate:g}"
        rate, accepted = (found["mc"].get(f"{name}_{aim}", 0.0) for name in ("error_rate", "accepted"))
        allowed = binom.ppf(EXPECTED, round(accepted * rows), threshold.error_rate)
        if round(rate * accepted * rows) > allowed:
            above.append(f"{rate:.4g} for {aim}")
    if above:
        yield (
            f"{DIFFER}: of the rows accepted for a stated error rate a share of {', '.join(above)} is wrong, which is"
            " more than chance explains; no error rate is guaranteed for rows like the test rows"
        )
