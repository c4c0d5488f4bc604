"""Draw curves with standard errors, and distributions, as SVG."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from training.behaviour.groups import Groups
from training.evidence.metrics import Float64
from training.evidence.svg import Axis, Line, chart

STYLES = {0.0: "s0", 0.2: "s2", 0.5: "s1"}
"""The style of each p."""
PUBLISHED = "guide"
"""The style of the published model."""


def styles(found: Groups[Any]) -> list[str]:
    """Return the styles of the groups, in their order."""
    return [*(STYLES[p] for p in found.by_rate), *(PUBLISHED for _ in found.published)]


class Curve(NamedTuple):
    """A curve, all arrays (points,); errors, or bounds in their place, that are NaN are not drawn."""

    name: str
    style: str
    x: Float64
    y: Float64
    error: Float64 | None = None
    low: Float64 | None = None
    high: Float64 | None = None

    def whiskers(self) -> list[tuple[float, float, float]]:
        """Return the place, lower and upper end of each whisker."""
        low = self.low if self.error is None else self.y - self.error
        high = self.high if self.error is None else self.y + self.error
        if low is None or high is None:
            return []
        return [(at, a, b) for at, a, b in zip(self.x, low, high, strict=True) if np.isfinite(a) and np.isfinite(b)]


def curves(title: str, x: Axis, y: Axis, drawn: Sequence[Curve]) -> str:
    """Return a chart of lines with their errors as vertical whiskers."""
    marks = []
    for curve in drawn:
        marks += [Line(curve.x, curve.y, curve.style, curve.name)]
        marks += [
            Line(np.array([at, at]), np.array([low, high]), f"{curve.style} faint")
            for at, low, high in curve.whiskers()
        ]
    return chart(title, x, y, marks)


def rounded_up(value: float) -> float:
    """Return a round end of an axis, such as 1, 1.5 or 2 times a power of ten."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(factor * power for factor in (1, 1.5, 2, 3, 5, 7.5, 10) if factor * power >= value * 0.9999))
