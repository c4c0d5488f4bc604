"""Claim 1: in training each activation is zeroed with probability p, independently, anew at each step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.engine.masks import draw_masks
from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.served import Served
from training.behaviour.statistics import ALARM, Interval, bernstein, clopper_pearson
from training.behaviour.watching import UNITS, Seen
from training.evidence.metrics import Float64

SCALE_TOLERANCE = 1e-6
"""Relative: float32 rounds the factor and the product."""
AXES = ("steps", "rows", "units")
TESTS = 2 + len(AXES)
"""With a bound each, of every layer."""
MASK_PASSES = 1024


class Measured(NamedTuple):
    """Of one layer."""

    seen: Seen
    active: int
    """Activations that were not 0 before dropout, so that it shows whether they were dropped."""
    rate: float
    """Share of them that was zeroed."""
    rate_bound: Interval
    scale_error: float
    """Of what kept activations were multiplied by, from 1/(1-p), relative and at the largest."""
    mean_ratio: float
    """Sum of the activations after dropout, divided by that before."""
    mean_bound: float
    """That it differs from 1 by at most."""
    correlation: dict[str, float]
    """Largest sum of products over pairs along an axis, as a share of its bound."""
    spread: dict[str, float]
    """Root mean square of the pairs' correlations in standard errors; 1 where they are independent."""


def activations(watched: Sequence[Seen]) -> Claim:
    """Measure layers that were watched in training, and masks that were drawn."""
    measured = [_measure(seen, ALARM / (TESTS * len(watched))) for seen in watched]
    return Claim(
        "activations",
        "Training drops each activation with probability p",
        "During training each activation is zeroed with probability p, independently of the others and anew at each"
        " step; those kept are multiplied by 1/(1-p), so that the expected activation stays the same.",
        tuple(_findings(measured)),
        "Every dropout layer was watched from outside while the networks were trained by the very code that trains"
        " published models: what went in and what came out, over the first"
        f" {len(watched[0].inputs)} steps of {watched[0].inputs.shape[1]} rows. An activation that is 0 before dropout"
        " (ReLU makes many) does not show whether it was dropped, and is left out. The share zeroed has a"
        " Clopper-Pearson bound, which is nearly exact: what is active hangs on earlier draws; the mean's is"
        " Bernstein's, with the variance p/(1-p) of the factor; correlations are"
        " those of the standardised events «dropped» over all pairs of units (same step and row), of rows (same step"
        " and unit) and of steps (same row and unit), and Bernstein's inequality bounds their sums. All bounds"
        f" together are crossed by chance with a probability of {ALARM:g} at most (Bonferroni). The masks of the"
        " service, by which it samples at prediction, are measured in the same way.",
        tables=(_table(measured),),
    )


def served_masks(served: Served, seed: int) -> Seen:
    """What the service draws for the model's first site, seen as a layer: every activation is 1, passes are steps."""
    site = served.manifest.sites[0]
    masks = draw_masks(seed, 0, site.p, site.shape, 0, MASK_PASSES)
    flat = masks.reshape(MASK_PASSES, 1, -1)[..., :UNITS]
    return Seen(f"the service's masks, p = {site.p:g}", site.p, np.ones_like(flat), flat)


def _measure(seen: Seen, alpha: float) -> Measured:
    active = seen.inputs != 0  # (steps, rows, units)
    dropped = active & (seen.outputs == 0)
    count, zeroed = int(active.sum()), int(dropped.sum())
    kept = active & ~dropped
    before, after = seen.inputs.astype(np.float64), seen.outputs.astype(np.float64)
    factors = after[kept] / before[kept]
    odds = seen.p / (1 - seen.p)
    bound = bernstein(odds * np.square(before).sum(), np.abs(before).max() * max(1.0, odds), alpha) / abs(before.sum())
    events = np.where(active, (dropped - seen.p) / np.sqrt(seen.p * (1 - seen.p)), 0.0)
    pairs = {axis: _pairs(events, active, number, seen.p, alpha) for number, axis in enumerate(AXES)}
    return Measured(
        seen,
        count,
        zeroed / count,
        clopper_pearson(zeroed, count, alpha),
        float(np.abs(factors * (1 - seen.p) - 1).max(initial=0.0)),
        float(after.sum() / before.sum()),
        float(bound),
        {axis: largest for axis, (largest, _) in pairs.items()},
        {axis: spread for axis, (_, spread) in pairs.items()},
    )


def _pairs(events: Float64, active: Float64, axis: int, p: float, alpha: float) -> tuple[float, float]:
    """Of all pairs along an axis the largest sum of products as a share of its bound, and the root mean square of
    the sums in standard errors; NaN where there are no pairs.
    """
    size = events.shape[axis]
    flat = np.moveaxis(events, axis, -1).reshape(-1, size)  # (others, size)
    seen = np.moveaxis(active, axis, -1).reshape(-1, size).astype(np.float64)
    upper = np.triu_indices(size, 1)
    sums, counts = (flat.T @ flat)[upper], (seen.T @ seen)[upper]  # (pairs,)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if not len(sums):
        return np.nan, np.nan
    largest = max(p / (1 - p), (1 - p) / p)
    bounds = bernstein(counts, largest, alpha / len(sums))
    return float((np.abs(sums) / bounds).max()), float(np.sqrt((sums**2 / counts).mean()))


def _findings(measured: Sequence[Measured]) -> list[Finding]:
    """The layer that is worst, of each of the questions."""
    rate = _worst(measured, lambda m: abs(m.rate - m.seen.p) / (m.rate_bound.high - m.rate_bound.low))
    mean = _worst(measured, lambda m: abs(m.mean_ratio - 1) / m.mean_bound)
    scale = max(m.scale_error for m in measured)
    low, high = rate.rate_bound
    findings = [
        Finding(
            "share of activations zeroed, of the layer farthest off",
            f"{rate.rate:.4f} ({rate.seen.title}; {rate.active:,} activations)",
            f"p = {rate.seen.p:g} inside [{low:.4f}, {high:.4f}]; so in all {len(measured)}",
            all(m.rate_bound.low <= m.seen.p <= m.rate_bound.high for m in measured),
        ),
        Finding(
            "survivors' factor, largest relative error from 1/(1-p)",
            f"{scale:.1e}",
            f"at most {SCALE_TOLERANCE:g}, the rounding of float32",
            scale <= SCALE_TOLERANCE,
        ),
        Finding(
            "mean activation after ÷ before, of the layer farthest off",
            f"{mean.mean_ratio:.4f} ({mean.seen.title})",
            f"1 ± {mean.mean_bound:.4f}",
            all(abs(m.mean_ratio - 1) <= m.mean_bound for m in measured),
        ),
    ]
    for axis in AXES:
        if shares := [m.correlation[axis] for m in measured if np.isfinite(m.correlation[axis])]:
            what = f"largest correlation of two {axis}, as a share of its bound"
            findings.append(Finding(what, f"{max(shares):.3f}", "at most 1", max(shares) <= 1))
    return findings


def _worst(measured: Sequence[Measured], badness: Callable[[Measured], float]) -> Measured:
    return max(measured, key=badness)


def _table(measured: Sequence[Measured]) -> Table:
    header = ("layer", "activations", "zeroed", "bounds", "mean after ÷ before", *(f"between {axis}" for axis in AXES))
    rows = [
        (
            m.seen.title,
            f"{m.active:,}",
            f"{m.rate:.4f}",
            f"{m.rate_bound.low:.4f} … {m.rate_bound.high:.4f}",
            f"{m.mean_ratio:.4f} (1 ± {m.mean_bound:.4f})",
            *(_told(m.correlation[axis], m.spread[axis]) for axis in AXES),
        )
        for m in measured
    ]
    return Table(
        "Layer by layer. Correlations: the largest as a share of its bound, and all pairs' root mean square in standard"
        " errors, which is 1 for independent events.",
        header,
        rows,
    )


def _told(largest: float, spread: float) -> str:
    return f"{largest:.3f}, {spread:.3f}" if np.isfinite(largest) else "—"
