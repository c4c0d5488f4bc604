"""Claim 1: in training each activation is zeroed with probability p, independently, anew at each step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.engine.masks import draw_masks
from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.recording import UNITS, LayerRecord
from training.behaviour.served import Served
from training.behaviour.statistics import ALARM, Interval, bernstein, clopper_pearson
from training.evidence.metrics import Float64

SCALE_TOLERANCE = 1e-6
"""The relative rounding error of float32 in the factor and the product."""
AXES = ("steps", "rows", "units")
"""Axes along which pairs of events are correlated."""
TESTS = 2 + len(AXES)
"""The number of bounds of each layer."""
MASK_PASSES = 1024
"""The number of the service's masks."""


class Measured(NamedTuple):
    """Results for one layer."""

    layer: LayerRecord
    active: int
    """The number of activations that were not 0 before dropout, for which dropping is visible."""
    rate: float
    """The share of them that was zeroed."""
    rate_bound: Interval
    """The bounds of that share."""
    scale_error: float
    """The largest relative difference of kept activations' factor from 1/(1-p)."""
    mean_ratio: float
    """The sum of the activations after dropout, divided by that before."""
    mean_bound: float
    """The bound of its difference from 1."""
    correlation: dict[str, float]
    """The largest sum of products over pairs along an axis, as a share of its bound."""
    spread: dict[str, float]
    """The root mean square of the pairs' correlations in standard errors; 1 where they are independent."""


def activations(watched: Sequence[LayerRecord]) -> Claim:
    """Return the claim, measured on recorded layers and masks."""
    measured = [_measure(seen, ALARM / (TESTS * len(watched))) for seen in watched]
    return Claim(
        "activations",
        "Training drops each activation with probability p",
        "During training each activation is zeroed with probability p, independently of the others and anew at each"
        " step; kept ones are multiplied by 1/(1-p), so that the expected activation stays the same.",
        tuple(_findings(measured)),
        "Inputs and outputs of every dropout layer were recorded by hooks while the networks were trained by the code"
        " that trains published models, over the first"
        f" {len(watched[0].inputs)} steps of {watched[0].inputs.shape[1]} rows. An activation that is 0 before dropout"
        " (ReLU makes many) does not show whether it was dropped, and is left out. The share zeroed has a"
        " Clopper-Pearson bound, which is nearly exact, as the active units depend on earlier draws; the mean's is"
        " Bernstein's, with the variance p/(1-p) of the factor; correlations are"
        " those of the standardised events «dropped» over all pairs of units (same step and row), of rows (same step"
        " and unit) and of steps (same row and unit), and Bernstein's inequality bounds their sums. All bounds"
        f" together are crossed by chance with a probability of {ALARM:g} at most (Bonferroni). The masks of the"
        " service's samples are measured in the same way.",
        tables=(_table(measured),),
    )


def served_masks(served: Served, seed: int) -> LayerRecord:
    """Return the service's masks of the model's first site as a layer whose inputs are 1 and whose steps are passes."""
    site = served.manifest.sites[0]
    masks = draw_masks(seed, 0, site.p, site.shape, 0, MASK_PASSES)
    flat = masks.reshape(MASK_PASSES, 1, -1)[..., :UNITS]
    return LayerRecord(f"the service's masks, p = {site.p:g}", site.p, np.ones_like(flat), flat)


def _measure(seen: LayerRecord, alpha: float) -> Measured:
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
    """Return the largest sum of products of all pairs along an axis, as a share of its bound, and their root mean
    square.

    The latter is in standard errors. Both are NaN where there are no pairs.
    """
    size = events.shape[axis]
    flat = np.moveaxis(events, axis, -1).reshape(-1, size)  # (all other places, size)
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
    """Return a finding on each property, of its worst layer."""
    rate = _worst(measured, lambda m: abs(m.rate - m.layer.p) / (m.rate_bound.high - m.rate_bound.low))
    mean = _worst(measured, lambda m: abs(m.mean_ratio - 1) / m.mean_bound)
    scale = max(m.scale_error for m in measured)
    low, high = rate.rate_bound
    findings = [
        Finding(
            "share of activations zeroed, in the layer with the largest difference",
            f"{rate.rate:.4f} ({rate.layer.title}; {rate.active:,} activations)",
            f"p = {rate.layer.p:g} inside [{low:.4f}, {high:.4f}]; so in all {len(measured)}",
            all(m.rate_bound.low <= m.layer.p <= m.rate_bound.high for m in measured),
        ),
        Finding(
            "factor of kept activations, largest relative error from 1/(1-p)",
            f"{scale:.1e}",
            f"at most {SCALE_TOLERANCE:g}, the rounding of float32",
            scale <= SCALE_TOLERANCE,
        ),
        Finding(
            "mean activation after ÷ before, in the layer with the largest difference",
            f"{mean.mean_ratio:.4f} ({mean.layer.title})",
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
            m.layer.title,
            f"{m.active:,}",
            f"{m.rate:.4f}",
            f"{m.rate_bound.low:.4f} … {m.rate_bound.high:.4f}",
            f"{m.mean_ratio:.4f} (1 ± {m.mean_bound:.4f})",
            *(_cell(m.correlation[axis], m.spread[axis]) for axis in AXES),
        )
        for m in measured
    ]
    return Table(
        "Layer by layer. Correlations: the largest as a share of its bound, and all pairs' root mean square in standard"
        " errors, which is 1 for independent events.",
        header,
        rows,
    )


def _cell(largest: float, spread: float) -> str:
    return f"{largest:.3f}, {spread:.3f}" if np.isfinite(largest) else "—"
