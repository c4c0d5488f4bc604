"""Dropserve's goals beside measurements, with one small model."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.serving.contenders import CONSTANT, CONTENDERS, NAIVE, PREDICT, REFERENCE, UNCERTAINTY
from benchmarks.serving.figures import Figures, Table

MODEL = "small"
FEW, SOME, MANY = 1, 8, 64
FRAMEWORKS = ("LitServe", "BentoML", "KServe SDK", "MLServer")
PEERS = [one.name for one in CONTENDERS if one.peer and one.name not in (REFERENCE, CONSTANT)]


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


def goals(table: Table) -> Iterator[Goal]:
    """Yield all goals."""

    def find(name: str, workers: int = 1) -> Figures | None:
        return table.get((MODEL, workers, name))

    predict, two, uncertainty = find(PREDICT), find(PREDICT, 2), find(UNCERTAINTY)
    for bound, name in ((3.5, NAIVE), *((8.0, name) for name in FRAMEWORKS), (0.8, REFERENCE)):
        rates = ratio(rate(predict), rate(find(name)))
        yield Goal(f"requests a second at {MANY} connections, of those of {name}", bound, rates)
    yield Goal(f"requests a second at {MANY} connections, two workers of one", 1.8, ratio(rate(two), rate(predict)))
    for name in PEERS:
        times = ratio(p99(predict), p50(find(name), SOME))
        yield Goal(f"p99 at {SOME} connections, of p50 of {name}", 1.0, times, at_most=True)
    times = ratio(p50(uncertainty, FEW), p50(predict, FEW))
    yield Goal(f"p50 of {UNCERTAINTY} at {FEW} connection, of that of /predict", 1.5, times, at_most=True)
    yield Goal("idle memory, MB", 110, predict and predict.idle_mb, at_most=True)
    yield Goal("start to first answer, s", 1.5, predict and predict.ready_seconds, at_most=True)


def rate(figures: Figures | None) -> float | None:
    """Return the requests a second with many connections."""
    return figures.at[MANY].per_second if figures and MANY in figures.at else None


def p50(figures: Figures | None, connections: int) -> float | None:
    """Return the median latency in milliseconds."""
    return figures.at[connections].p50_ms if figures and connections in figures.at else None


def p99(figures: Figures | None) -> float | None:
    """Return the 99th percentile of latency in milliseconds, with some connections."""
    return figures.at[SOME].p99_ms if figures and SOME in figures.at else None


def ratio(one: float | None, other: float | None) -> float | None:
    """Return the ratio; None where one of both was not measured."""
    return one / other if one is not None and other else None
