"""What to do with an answer: accept it or refer it to a person; and which answers cannot be ruled out.

All by thresholds that were fitted on validation data when the model was trained, and are in its manifest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, Float64, Uncertainty
from service.errors import InvalidInput
from service.model.manifest import AbstentionThreshold, ConformalQuantile, Manifest


class Decision(NamedTuple):
    """Which rows to accept, and by which threshold."""

    threshold: AbstentionThreshold
    accepted: NDArray[np.bool_]
    """(rows,)."""


def decide(
    manifest: Manifest, sampling: Sampling, uncertainty: Uncertainty, error_rate: float | None = None
) -> Decision | None:
    """Accept or refer each row; None where that is not known: of regressions, of models without a threshold, and
    where the network was changed. Raises InvalidInput for an error rate that the model has no threshold for.
    """
    threshold = None if sampling.changes_network else choose_threshold(manifest, error_rate)
    if threshold is None or not isinstance(uncertainty, ClassUncertainty):
        return None
    return Decision(threshold, accept(uncertainty.predictive_entropy, threshold))


def choose_threshold(manifest: Manifest, error_rate: float | None) -> AbstentionThreshold | None:
    """The model's threshold for this error rate; None if it has none.

    Where no rate is asked for: that for the highest rate at which some rows are referred, as one that accepts
    everything decides nothing. Raises InvalidInput for an error rate that it has no threshold for.
    """
    if error_rate is None:
        deciding = [threshold for threshold in manifest.abstention if threshold.coverage < 1]
        return max(deciding or manifest.abstention, key=lambda threshold: threshold.error_rate, default=None)
    known = {threshold.error_rate: threshold for threshold in manifest.abstention}
    if error_rate not in known:
        raise _unknown("error_rate", error_rate, list(known))
    return known[error_rate]


def choose_quantile(manifest: Manifest, coverage: float) -> ConformalQuantile:
    """The model's conformal quantile for this coverage; raises InvalidInput when it has none."""
    known = {quantile.coverage: quantile for quantile in manifest.conformal}
    if coverage not in known:
        raise _unknown("coverage", coverage, list(known))
    return known[coverage]


def accept(predictive_entropy: Float64, threshold: AbstentionThreshold) -> NDArray[np.bool_]:
    """Which rows to accept: (rows,)."""
    return predictive_entropy <= threshold.threshold


def prediction_sets(probabilities: Float64, quantile: ConformalQuantile) -> NDArray[np.bool_]:
    """Which classes belong to each row's set: deterministic probabilities (rows, classes) → the same shape."""
    return 1 - probabilities <= quantile.quantile


def half_widths(values: Float64, noise_std: Float64 | None, quantile: ConformalQuantile) -> Float64:
    """Of the intervals about a regression's deterministic values: all (rows, outputs), in the target's unit.

    The quantile itself, or where the noise is learned times that of each row, so that a row that is known to
    be noisy gets a wide one.
    """
    return np.full_like(values, quantile.quantile) if noise_std is None else noise_std * quantile.quantile


def _unknown(field: str, asked: float, known: list[float]) -> InvalidInput:
    expected = f"one of {', '.join(map(str, known))}" if known else "none, since the model was published without"
    return InvalidInput(f"{field}: expected {expected}; found {asked:g}", field=field, expected=known)
