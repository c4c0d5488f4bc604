"""Means over networks → findings: shown, refuted, or left open by the bounds."""

from collections.abc import Sequence

import numpy as np

from training.behaviour.claim import Finding
from training.behaviour.statistics import CONFIDENCE, Mean, mean_of

BOUNDS = (
    f"Bounds: Student's t of differences paired by seed, {CONFIDENCE:.0%}, each one-sided; the seeds deal out the same"
    " rows anew, so that their test rows overlap and the bounds are only nearly right. A claim of several findings is"
    " refuted where one of them is, which chance does more often than the confidence of one bound says."
)


def above(what: str, values: Sequence[float], limit: float = 0.0) -> Finding:
    """Whether their true mean is above the limit; with bounds of which each is one-sided."""
    found = mean_of(values)
    wanted = f"bounds above {limit:g}"
    told = bounded(found) + _left_out(values)
    return Finding(what, told, wanted, found.low > limit, not (found.low > limit or found.high <= limit))


def within(what: str, values: Sequence[float], limit: float) -> Finding:
    """Whether their true mean is no farther from 0 than that."""
    found = mean_of(values)
    holds, refuted = -limit <= found.low and found.high <= limit, found.low > limit or found.high < -limit
    told = bounded(found) + _left_out(values)
    return Finding(what, told, f"bounds within ±{limit:g}", holds, not (holds or refuted))


def _left_out(values: Sequence[float]) -> str:
    """In words, where some seeds have no number: an AUROC where no answer is wrong."""
    defined = int(np.isfinite(values).sum())
    return "" if defined == len(values) else f" (of {defined} of {len(values)} seeds; none in the others)"


def bounded(found: Mean) -> str:
    """In words."""
    if np.isnan(found.low):
        return f"{found}; no bounds: the seeds show no spread"
    return f"{found}; {found.low:.4f} … {found.high:.4f}"
