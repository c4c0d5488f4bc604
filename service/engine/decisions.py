"""Accept answers or refer them to a person, and conformal sets and intervals.

All use thresholds in the manifest, which were fitted on calibration data.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty
from service.errors import InvalidInput
from service.model.manifest import AbstentionThreshold, ConformalQuantile, Manifest


class Decision(NamedTuple):
    """The accepted rows, and the threshold that decided."""

    threshold: AbstentionThreshold
    accepted: NDArray[np.bool_]
    """(rows,): whether each row is accepted."""

    def take(self, rows: slice) -> Self:
        """Return the decision on these rows."""
        return self._replace(accepted=self.accepted[rows])


def decide(
    manifest: Manifest, sampling: Sampling, uncertainty: Uncertainty, error_rate: float | None = None
) -> Decision | None:
    """Accept or refer each row; None for regressions, models without thresholds, and changed networks.

    Raises InvalidInput for an error rate without a threshold.
    """
    threshold = None if sampling.changes_network else choose_threshold(manifest, error_rate)
    if threshold is None or not isinstance(uncertainty, ClassUncertainty):
        return None
    return Decision(threshold, accept(uncertainty.predictive_entropy, threshold))


def choose_threshold(manifest: Manifest, error_rate: float | None) -> AbstentionThreshold | None:
    """Return the model's threshold for this error rate, or None for a model without thresholds.

    Without an error rate it is that of the highest rate at which some rows are referred, as a threshold that accepts
    all rows decides nothing. Raises InvalidInput for an error rate without a threshold.
    """
    if error_rate is None:
        deciding = [threshold for threshold in manifest.abstention if threshold.coverage < 1]
        return max(deciding or manifest.abstention, key=lambda threshold: threshold.error_rate, default=None)
    known = {threshold.error_rate: threshold for threshold in manifest.abstention}
    if error_rate not in known:
        raise _unknown("error_rate", error_rate, list(known))
    return known[error_rate]


def choose_quantile(manifest: Manifest, coverage: float) -> ConformalQuantile:
    """Return the model's conformal quantile for this coverage. Raises InvalidInput if it has none."""
    known = {quantile.coverage: quantile for quantile in manifest.conformal}
    if coverage not in known:
        raise _unknown("coverage", coverage, list(known))
    return known[coverage]


def accept(predictive_entropy: Float64, threshold: AbstentionThreshold) -> NDArray[np.bool_]:
    """Return whether to accept each row: (rows,)."""
    return predictive_entropy <= threshold.threshold


def prediction_sets(probabilities: Float64, quantile: ConformalQuantile) -> NDArray[np.bool_]:
    """Return the classes in each row's set, from deterministic probabilities, both (rows, classes)."""
    return 1 - probabilities <= quantile.quantile


def half_widths(values: Float64, noise_std: Float64 | None, quantile: ConformalQuantile) -> Float64:
    """Return half the widths of the intervals about a regression's values, all (rows, outputs), in the target's unit.

    They are the quantile itself, or with learned noise its product with each row's noise.
    """
    return np.full_like(values, quantile.quantile) if noise_std is None else noise_std * quantile.quantile


def _unknown(field: str, given: float, known: list[float]) -> InvalidInput:
    expected = f"one of {', '.join(map(str, known))}" if known else "none, since the model was published without"
    return InvalidInput(f"{field}: expected {expected}; found {given:g}", field=field, expected=known)
