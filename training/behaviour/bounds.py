"""Turn means over networks into findings: confirmed, refuted, or undecided by the bounds."""

from collections.abc import Sequence

import numpy as np

from training.behaviour.claim import Finding
from training.behaviour.statistics import CONFIDENCE, Mean, mean_of

BOUNDS = (
    f"Bounds: Student's t of differences paired by seed, {CONFIDENCE:.0%}, each one-sided; each seed splits the same"
    " rows anew, so that their test rows overlap and the bounds are approximate. A claim of several findings is"
    " refuted where one of them is, which happens by chance more often than the confidence of one bound suggests."
)
"""The explanation of the bounds in a report."""


def above(what: str, values: Sequence[float], limit: float = 0.0) -> Finding:
    """Return the finding whether the true mean is above the limit, by one-sided bounds."""
    found = mean_of(values)
    expected = f"bounds above {limit:g}"
    text = bounded(found) + _left_out(values)
    return Finding(what, text, expected, found.low > limit, not (found.low > limit or found.high <= limit))


def within(what: str, values: Sequence[float], limit: float) -> Finding:
    """Return the finding whether the true mean is within ± the limit."""
    found = mean_of(values)
    holds, refuted = -limit <= found.low and found.high <= limit, found.low > limit or found.high < -limit
    text = bounded(found) + _left_out(values)
    return Finding(what, text, f"bounds within ±{limit:g}", holds, not (holds or refuted))


def _left_out(values: Sequence[float]) -> str:
    """Return a remark on seeds without a value, such as an AUROC where no answer is wrong."""
    defined = int(np.isfinite(values).sum())
    return "" if defined == len(values) else f" (of {defined} of {len(values)} seeds; none in the others)"


def bounded(found: Mean) -> str:
    """Return the mean and its bounds as text."""
    if np.isnan(found.low):
        return f"{found}; no bounds: the seeds show no spread"
    return f"{found}; {found.low:.4f} … {found.high:.4f}"
