"""Fit the growth of time to measured points."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Growth(NamedTuple):
    """Measured points with a line and an exponent."""

    name: str
    sizes: list[int]
    seconds: list[float]
    start: float
    each: float
    """seconds ≈ start + each · size, by least squares of relative errors."""
    exponent: float
    """seconds ∝ size^exponent over the larger half of the sizes."""


def fit(name: str, points: Mapping[int, float]) -> Growth:
    """Return the line and the exponent of measured points, at least two."""
    sizes, seconds = np.array(list(points), dtype=float), np.array(list(points.values()))
    each, start = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    larger = slice(len(sizes) // 2 - 1, None)
    exponent = np.polyfit(np.log(sizes[larger]), np.log(seconds[larger]), 1)[0]
    return Growth(name, list(points), list(points.values()), float(start), float(each), float(exponent))
