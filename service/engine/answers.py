"""The answers of an engine: the deterministic one, and the summary of samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.engine.uncertainty import Float64, Int64, Uncertainty, join_rows, take_rows

Rows = NDArray[np.intp]
"""Numbers of rows."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The deterministic answer, of the network without dropout."""

    values: Float64
    """(rows, outputs): calibrated probabilities of the classes, or a regression's values."""
    noise_std: Float64 | None = None
    """(rows, outputs): with learned noise, the standard deviation of each value's observation noise."""

    def take(self, rows: slice) -> Self:
        """Return the answer for these rows."""
        return type(self)(self.values[rows], None if self.noise_std is None else self.noise_std[rows])


@dataclass(frozen=True, slots=True)
class Sampled:
    """The samples of each row, summarised, with the deterministic answer."""

    uncertainty: Uncertainty
    deterministic: Prediction
    passes: Int64
    """(rows,): the number of samples of each row."""
    stopped: tuple[str, ...]
    """Why sampling of each row stopped: see `Sampling.stops`."""
    quantiles: Float64
    """(rows, quantiles, outputs): the requested quantiles."""
    values: tuple[Float64, ...]
    """The samples of each row, (passes, outputs), if requested; else empty."""

    @property
    def most_passes(self) -> int:
        """The largest number of samples of a row."""
        return int(self.passes.max())

    def take(self, rows: slice) -> Self:
        """Return the answer for these rows."""
        return type(self)(
            uncertainty=take_rows(self.uncertainty, rows),  # type: ignore[type-var]  # mypy cannot split the union
            deterministic=self.deterministic.take(rows),
            passes=self.passes[rows],
            stopped=self.stopped[rows],
            quantiles=self.quantiles[rows],
            values=self.values[rows],
        )


@dataclass(frozen=True, slots=True)
class Part:
    """The answer for some rows of a request, with the same number of samples each."""

    rows: Rows
    uncertainty: Uncertainty
    passes: int
    stopped: str
    quantiles: Float64
    """(rows, quantiles, outputs)."""
    values: Float64 | None
    """(passes, rows, outputs): the samples, if requested."""


def join(parts: Sequence[Part], deterministic: Prediction) -> Sampled:
    """Return the joined parts, in the order of the rows."""
    passes: list[int] = []
    stopped: list[str] = []
    values: list[Float64] = []
    for part in parts:
        passes += [part.passes] * len(part.rows)
        stopped += [part.stopped] * len(part.rows)
        if part.values is not None:
            values += [part.values[:, i] for i in range(len(part.rows))]
    uncertainties: list[Any] = [part.uncertainty for part in parts]
    joined = Sampled(
        uncertainty=join_rows(uncertainties),
        deterministic=deterministic,
        passes=np.array(passes),
        stopped=tuple(stopped),
        quantiles=np.concatenate([part.quantiles for part in parts]) if len(parts) > 1 else parts[0].quantiles,
        values=tuple(values),
    )
    return joined if len(parts) == 1 else _sort(joined, np.concatenate([part.rows for part in parts]))


def _sort(sampled: Sampled, rows: Rows) -> Sampled:
    """Return answers in the order of their rows' numbers."""
    order = np.argsort(rows)
    if (order[1:] > order[:-1]).all():
        return sampled
    uncertainty: Any = sampled.uncertainty
    return Sampled(
        uncertainty=take_rows(uncertainty, order),
        deterministic=sampled.deterministic,
        passes=sampled.passes[order],
        stopped=tuple(sampled.stopped[i] for i in order),
        quantiles=sampled.quantiles[order],
        values=tuple(sampled.values[i] for i in order) if sampled.values else (),
    )
