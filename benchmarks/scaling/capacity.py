"""The capacity model: the cost of any request, fitted to measured costs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls


class Kind(NamedTuple):
    """A kind of request; 0 passes are a deterministic prediction."""

    rows: int
    passes: int


class Measured(NamedTuple):
    """Results for one kind of request, with a single busy worker on one core."""

    ask: Kind
    cpu_seconds: float
    """CPU seconds of the service for each request."""
    per_second: float
    p50_ms: float
    p99_ms: float
    sent_bytes: int
    received_bytes: int


class Costs(NamedTuple):
    """CPU seconds: cost = request + row · rows + one_pass · passes + row_pass · rows · passes."""

    request: float
    row: float
    one_pass: float = 0.0
    row_pass: float = 0.0

    def of(self, ask: Kind) -> float:
        """Return the CPU seconds of such a request."""
        return float(np.dot(self, _terms(ask)[: len(self)]))


class Capacity(NamedTuple):
    """The costs of the two routes."""

    predict: Costs
    uncertainty: Costs

    def cost(self, ask: Kind) -> float:
        """Return the CPU seconds of such a request."""
        return (self.uncertainty if ask.passes else self.predict).of(ask)


def fit(measured: Sequence[Measured]) -> Capacity:
    """Fit costs ≥ 0 by least squares of relative errors."""
    return Capacity(
        predict=Costs(*_fit([one for one in measured if not one.ask.passes], terms=2)),
        uncertainty=Costs(*_fit([one for one in measured if one.ask.passes], terms=4)),
    )


def _fit(measured: Sequence[Measured], terms: int) -> list[float]:
    seconds = np.array([one.cpu_seconds for one in measured])
    design = np.array([_terms(one.ask)[:terms] for one in measured], dtype=float)
    solution, _ = nnls(design / seconds[:, np.newaxis], np.ones(len(seconds)))
    return [float(cost) for cost in solution]


def _terms(ask: Kind) -> tuple[int, ...]:
    return 1, ask.rows, ask.passes, ask.rows * ask.passes
