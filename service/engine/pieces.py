"""Pieces of a large request, which any engine of the same model answers to the last bit alike.

A piece is of whole runs of the graph, those that the request would have been cut into anyway
(`service.engine.cuts`), so who does it, and with how many others, changes no answer.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from service.engine.answers import Part
from service.engine.inputs import Inputs
from service.engine.sampling import Sampling
from service.engine.uncertainty import Float64

PIECE_SECONDS = 0.1
"""About as long as a piece takes: long beside the asking, short where it must be done again."""


class ModelKey(NamedTuple):
    """Tells a model from any other."""

    name: str
    version: int
    digest: str
    """SHA-256 of its manifest, which has the digests of all its files."""


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """All passes of some rows, summarised."""

    model: ModelKey
    inputs: Inputs
    sampling: Sampling
    first: int
    """The number of the first of these rows in the request."""
    led: bool
    """Whether the leading pass goes with them, which is the deterministic answer."""


@dataclass(frozen=True, slots=True)
class PassesPiece:
    """Passes start … stop-1 of the same rows, raw."""

    model: ModelKey
    inputs: Inputs
    sampling: Sampling
    start: int
    stop: int


Piece = RowsPiece | PassesPiece


class RowsDone(NamedTuple):
    """What was asked of some rows."""

    leads: list[Float64]
    """(rows, outputs) each: what the leading pass answers, where it was asked for."""
    parts: list[Part]

    def after(self, first: int) -> Self:
        """The same with rows numbered from `first` on."""
        return self._replace(parts=[replace(part, rows=part.rows + first) for part in self.parts])


def cut_evenly(count: int, least: int, seconds: float) -> int:
    """How many of so many things that take so long together make a piece: a multiple of `least`."""
    pieces = max(1.0, seconds / PIECE_SECONDS)
    return least * max(1, round(count / pieces / least))
