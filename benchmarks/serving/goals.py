"""Dropserve's goals beside measurements, with the small network."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.serving.contenders import (
    KEYED,
    LOGGED,
    NAIVE,
    PREDICT,
    RAW,
    TURN,
    UNCERTAINTY,
    V2_BINARY,
    V2_JSON,
    at,
)
from benchmarks.serving.figures import Figures, Line, Table

MODEL = "small"
FEW, SOME, MANY = 1, 8, 64


class Goal(NamedTuple):
    """A number and its bound."""

    text: str
    bound: float
    measured: float | None
    """None where a part of it was not measured."""
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


class Measured:
    """The figures that goals are about."""

    def __init__(self, table: Table) -> None:
        """Look them up in a table."""
        self._table = table

    def figures(self, name: str, workers: int = 1) -> Figures | None:
        """Return the figures of a contender."""
        return self._table.get((MODEL, workers, name))

    def line(self, name: str, connections: int, workers: int = 1) -> Line | None:
        """Return a contender's figures at a number of connections."""
        figures = self.figures(name, workers)
        return figures.at.get(connections) if figures else None

    def rates(self, name: str, connections: int, other: str) -> float | None:
        """Return the requests a second as a share of another contender's."""
        one, two = self.line(name, connections), self.line(other, connections)
        return one.per_second / two.per_second if one and two else None

    def tail(self, name: str, connections: int) -> float | None:
        """Return the 99th percentile of latency as a multiple of the median."""
        line = self.line(name, connections)
        return line.p99_ms / line.p50_ms if line else None

    def thrift(self, name: str) -> float | None:
        """Return the requests of two workers for each CPU second, as a share of one worker's."""
        one, two = self.line(name, MANY), self.line(name, MANY, workers=2)
        return two.per_cpu_second / one.per_cpu_second if one and two else None

    def over_products(self) -> float | None:
        """Return the time of a sampled request as a multiple of its matrix products at their fastest."""
        figures, line = self.figures(UNCERTAINTY), self.line(UNCERTAINTY, MANY)
        return 1e6 / line.per_second / min(figures.products_us.values()) if figures and line else None


def goals(table: Table, commit: str) -> Iterator[Goal]:
    """Yield all goals; those beside a baseline are about the build of this commit."""
    found = Measured(table)
    for name, connections, bound, other in (
        (PREDICT, MANY, 0.6, TURN),
        (PREDICT, MANY, 1.8, RAW),
        (PREDICT, MANY, 6.0, NAIVE),
        (PREDICT, SOME, 0.6, TURN),
        (PREDICT, FEW, 0.7, TURN),
        (V2_BINARY, MANY, 0.9, PREDICT),
        (V2_JSON, MANY, 0.7, PREDICT),
        (UNCERTAINTY, FEW, 2.0, at(commit, UNCERTAINTY)),
        (UNCERTAINTY, MANY, 2.0, at(commit, UNCERTAINTY)),
        (KEYED, MANY, 0.9, PREDICT),
        (LOGGED, MANY, 0.9, PREDICT),
    ):
        text = f"requests a second at {_connections(connections)}: {_short(name)} ÷ {_short(other)}"
        yield Goal(text, bound, found.rates(name, connections, other))
    text = f"time a request at {_connections(MANY)}: {_short(UNCERTAINTY)} ÷ its matrix products"
    yield Goal(text, 1.4, found.over_products(), at_most=True)
    for name in (PREDICT, V2_BINARY, V2_JSON, UNCERTAINTY):
        for connections in (SOME, MANY):
            text = f"p99 ÷ p50 at {_connections(connections)}: {_short(name)}"
            yield Goal(text, 2.0, found.tail(name, connections), at_most=True)
    text = f"requests a CPU second at {_connections(MANY)}: {_short(PREDICT)}, two workers ÷ one"
    yield Goal(text, 0.9, found.thrift(PREDICT))
    predict = found.figures(PREDICT)
    yield Goal("idle memory, MB", 100, predict and predict.idle_mb, at_most=True)
    yield Goal("start to first answer, s", 0.6, predict and predict.ready_seconds, at_most=True)


def _short(name: str) -> str:
    return name.replace("Dropserve /", "/")


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
