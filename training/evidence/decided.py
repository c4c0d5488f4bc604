"""What a manifest's prediction sets, intervals and thresholds do on rows that they were not taken from."""

import math

from service.engine.decisions import accept, half_widths, prediction_sets
from service.engine.uncertainty import ClassUncertainty
from service.model.manifest import AbstentionThreshold, ConformalQuantile
from training.evidence.metrics import Float64, Int64
from training.evidence.metrics.classes import right, set_coverage, set_size
from training.evidence.metrics.values import interval_coverage


def of_set(probabilities: Float64, targets: Int64, quantile: ConformalQuantile) -> dict[str, float]:
    """Of prediction sets by deterministic probabilities (rows, classes), as the service makes them."""
    members = prediction_sets(probabilities, quantile)
    aim = f"{quantile.coverage:g}"
    return {f"coverage_{aim}": set_coverage(members, targets), f"set_size_{aim}": set_size(members)}


def of_interval(
    values: Float64, targets: Float64, quantile: ConformalQuantile, noise_std: Float64 | None = None
) -> dict[str, float]:
    """Of the intervals about a regression's deterministic values, as the service makes them; all (rows, outputs)."""
    half_width = half_widths(values, noise_std, quantile)
    aim = f"{quantile.coverage:g}"
    return {
        f"coverage_{aim}": interval_coverage(values, half_width, targets),
        f"width_{aim}": float(2 * half_width.mean()),
    }


def of_threshold(uncertainty: ClassUncertainty, targets: Int64, threshold: AbstentionThreshold) -> dict[str, float]:
    """Of accepting what the threshold allows: share accepted, and share of the accepted that is wrong."""
    accepted = accept(uncertainty.predictive_entropy, threshold)
    wrong = ~right(uncertainty.mean, targets)[accepted]
    aim = f"{threshold.error_rate:g}"
    return {
        f"accepted_{aim}": float(accepted.mean()),
        f"error_rate_{aim}": float(wrong.mean()) if accepted.any() else math.nan,
    }
