"""Pieces of a large request, which all engines of the same model answer bitwise alike.

A piece consists of whole runs of the graph, into which the request is cut in any case (`service.engine.cuts`), so its
worker and the number of pieces change no answer.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from service.engine.answers import Part
from service.engine.inputs import Inputs
from service.engine.sampling import Sampling
from service.engine.uncertainty import Float64

PIECE_SECONDS = 0.1
"""The approximate seconds of a piece: long compared with its transfer, and short enough to repeat."""


class ModelKey(NamedTuple):
    """The identity of a model."""

    name: str
    version: int
    digest: str
    """SHA-256 of the manifest, which has the digests of all files."""


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """A piece of all passes of some rows, with summarised results."""

    model: ModelKey
    inputs: Inputs
    sampling: Sampling
    first: int
    """The number of the first row in the request."""


@dataclass(frozen=True, slots=True)
class PassesPiece:
    """A piece of passes start … stop-1 of some rows, with raw results."""

    model: ModelKey
    begun: Inputs
    """What samples of these rows begin with: see `service.engine.network`."""
    sampling: Sampling
    start: int
    stop: int


Piece = RowsPiece | PassesPiece


class RowsDone(NamedTuple):
    """The result of a RowsPiece."""

    deterministic: list[Float64]
    """(rows, outputs) each: the deterministic answers."""
    parts: list[Part]

    def extend(self, other: Self) -> None:
        """Add the result of the rows after these."""
        self.deterministic.extend(other.deterministic)
        self.parts.extend(other.parts)

    def after(self, first: int) -> Self:
        """Return the same with rows numbered from `first` on."""
        return self._replace(parts=[replace(part, rows=part.rows + first) for part in self.parts])


def cut_evenly(count: int, least: int, seconds: float) -> int:
    """Return the number of items of a piece, a multiple of `least`, for `count` items that take `seconds` together."""
    pieces = max(1.0, seconds / PIECE_SECONDS)
    return least * max(1, round(count / pieces / least))
