"""Summarise visits as medians over repeats."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.serving.measuring import Measured, Visit

MEGABYTE = 1e6


class Line(NamedTuple):
    """Figures at one number of connections."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the server for each request."""
    refused: float
    """The share of requests that were refused."""
    broken: int
    disturbed: float
    """Cores used meanwhile by all other processes, without the load generator."""

    @property
    def per_cpu_second(self) -> float:
        """Requests for each CPU second of the server."""
        return 1e6 / self.cpu_us


class Figures(NamedTuple):
    """Figures of one contender, model and number of workers."""

    ready_seconds: float
    idle_mb: float
    loaded_mb: float
    at: Mapping[int, Line]
    """Figures by connections."""
    products_us: Mapping[int, float]
    """Time of the matrix products of a row's samples, by rows in a run."""


Key = tuple[str, int, str]
"""Model, workers, contender."""
Table = Mapping[Key, Figures]


def summarise(visits: Iterable[Visit]) -> Table:
    """Return medians of all visits with the same key."""
    groups: dict[Key, list[Visit]] = {}
    for visit in visits:
        groups.setdefault((visit.model, visit.workers, visit.contender), []).append(visit)
    return {key: figures(group) for key, group in groups.items()}


def figures(visits: Sequence[Visit]) -> Figures:
    """Return medians of visits to the same contender."""
    return Figures(
        median(visit.ready_seconds for visit in visits),
        median(visit.idle_bytes for visit in visits) / MEGABYTE,
        median(visit.loaded_bytes for visit in visits) / MEGABYTE,
        {same[0].connections: line(same) for same in zip(*(visit.measured for visit in visits), strict=True)},
        {rows: 1e6 * median(visit.products[rows] for visit in visits) for rows in visits[0].products},
    )


def line(repeats: Sequence[Measured]) -> Line:
    """Return medians of the same load, repeated."""
    loads = [measured.load for measured in repeats]
    return Line(
        median(load.per_second for load in loads),
        median(load.p50_ms for load in loads),
        median(load.p99_ms for load in loads),
        median(1e6 * measured.cpu_seconds / measured.load.requests for measured in repeats),
        sum(load.refused for load in loads) / sum(load.requests for load in loads),
        sum(load.broken for load in loads),
        median(measured.other_cpu_seconds / measured.load.seconds for measured in repeats),
    )
