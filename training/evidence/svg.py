"""Draw lines and dots as a small SVG chart: plain text, reproducible, for light and dark pages."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from training.evidence.metrics import Float64

WIDTH, HEIGHT = 420, 332
LEFT, RIGHT, TOP, BOTTOM = 64, 404, 36, 268
"""Edges of the frame in pixels."""
MAX_RADIUS = 9.0
"""Radius in pixels of a dot of area 1."""
STYLE = """
svg{font:12px system-ui,sans-serif;--page:#fff;--ink:#24292f;--faint:#d0d7de;--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37}
@media(prefers-color-scheme:dark){svg{--page:#0d1117;--ink:#e6edf3;--faint:#3d444d;--s0:#58a6ff;--s1:#f0883e;--s2:#3fb950}}
.page{fill:var(--page)}text{fill:var(--ink)}.grid{stroke:var(--faint)}.guide{stroke:var(--ink);stroke-dasharray:4 4}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s0,.s1,.s2{stroke-width:2}.faint{stroke-opacity:.4}polyline{fill:none}
circle{fill:var(--page);fill-opacity:.6}"""


class Axis(NamedTuple):
    """An axis with its title and range."""

    name: str
    low: float
    high: float
    log: bool = False
    """Whether values are exponents of ten; the tick labels are then 1, 2, 5, 10, …"""

    def share(self, values: Float64) -> Float64:
        """Return positions from 0 at the low end to 1 at the high one; values beyond are drawn at the end."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)

    def ticks(self) -> list[float]:
        """Return three to six round numbers, or for a log axis all of 1, 2 and 5 times a power of ten."""
        if self.log:
            tens = range(math.floor(self.low), math.ceil(self.high) + 1)
            powers = [ten + math.log10(factor) for ten in tens for factor in (1, 2, 5)]
            return [power for power in powers if self.low - 1e-9 <= power <= self.high + 1e-9]
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def label(self, tick: float) -> str:
        """Return the label of a tick."""
        return f"{10**tick if self.log else tick:g}"


class Line(NamedTuple):
    """A line through points, all (points,)."""

    x: Float64
    y: Float64
    style: str
    name: str = ""


class Dots(NamedTuple):
    """Dots at points, with areas from 0 to 1, all (points,)."""

    x: Float64
    y: Float64
    area: Float64
    style: str
    name: str = ""


def chart(title: str, x: Axis, y: Axis, marks: Sequence[Line | Dots]) -> str:
    """Return the SVG file. Styles are `s0` to `s2`, each also `faint`, and `guide`; named marks are in the legend."""
    legend = [mark for mark in marks if mark.name]
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT, 22, title, "font-weight:bold"),
        *_frame(x, y),
        *(line for mark in marks for line in _draw(mark, x, y)),
        *(line for number, mark in enumerate(legend) for line in _entry(number, len(legend), mark)),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _frame(x: Axis, y: Axis) -> Iterator[str]:
    for tick in x.ticks():
        at = float(_across(x, np.array(tick)))
        yield f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{BOTTOM}"/>'
        yield _text(at, BOTTOM + 16, x.label(tick), "text-anchor:middle")
    for tick in y.ticks():
        at = float(_up(y, np.array(tick)))
        yield f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{RIGHT}" y2="{at:.1f}"/>'
        yield _text(LEFT - 6, at + 4, y.label(tick), "text-anchor:end")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 34, x.name, "text-anchor:middle")
    middle = (TOP + BOTTOM) / 2
    yield f'<g transform="rotate(-90 14 {middle:.1f})">{_text(14, middle, y.name, "text-anchor:middle")}</g>'


def _draw(mark: Line | Dots, x: Axis, y: Axis) -> Iterator[str]:
    across = _across(x, mark.x)
    points = list(zip(across, _up(y, mark.y), strict=True))
    if isinstance(mark, Line):
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        yield f'<polyline class="{mark.style}" points="{path}"/>'
        return
    for (a, b), area in zip(points, mark.area, strict=True):
        yield f'<circle class="{mark.style}" cx="{a:.1f}" cy="{b:.1f}" r="{MAX_RADIUS * math.sqrt(area):.1f}"/>'


def _entry(number: int, of: int, mark: Line | Dots) -> Iterator[str]:
    """Yield an entry of the legend, on one line below the chart."""
    at = 14 + number * (RIGHT - 14) / of
    yield f'<line class="{mark.style}" x1="{at:.1f}" y1="318" x2="{at + 16:.1f}" y2="318"/>'
    yield _text(at + 22, 322, mark.name)


def _across(x: Axis, values: Float64) -> Float64:
    return LEFT + (RIGHT - LEFT) * x.share(values)


def _up(y: Axis, values: Float64) -> Float64:
    return BOTTOM - (BOTTOM - TOP) * y.share(values)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'
