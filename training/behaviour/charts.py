"""Curves with standard errors, and distributions, as SVG."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.metrics import Float64
from training.svg import Axis, Line, chart

STYLES = {0.0: "s0", 0.2: "s2", 0.5: "s1"}
"""Colour of a p."""
PUBLISHED = "guide"


class Curve(NamedTuple):
    """(points,) each; NaN errors are not drawn."""

    name: str
    style: str
    x: Float64
    y: Float64
    error: Float64 | None = None


def curves(title: str, x: Axis, y: Axis, drawn: Sequence[Curve]) -> str:
    """Lines; the standard error stands upright at each point."""
    marks = []
    for curve in drawn:
        marks += [Line(curve.x, curve.y, curve.style, curve.name)]
        if curve.error is not None:
            whiskers = zip(curve.x, curve.y, curve.error, strict=True)
            marks += [
                Line(np.array([at, at]), np.array([mid - error, mid + error]), f"{curve.style} faint")
                for at, mid, error in whiskers
                if np.isfinite(error)
            ]
    return chart(title, x, y, marks)


def rounded_up(value: float) -> float:
    """The end of an axis: 1, 2 or 5 times a power of ten."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(factor * power for factor in (1, 1.5, 2, 3, 5, 7.5, 10) if factor * power >= value * 0.9999))
