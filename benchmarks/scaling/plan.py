"""Plan the cores of a load by the capacity model."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.scaling.capacity import Capacity, Kind
from benchmarks.scaling.queueing import busiest

UTILISATION = 0.7
"""The utilisation of the cores, unless the latency requires less: the rest is for bursts, and for a lost replica."""


class Plan(NamedTuple):
    """The needs of one load."""

    ask: Kind
    per_second: float
    utilisation: float
    cores: float
    """Infinite where a single request takes longer than the latency."""
    price_per_million: float
    """The price of a million requests, in the currency of the price of a core's hour."""


def plan(capacity: Capacity, loads: Sequence[tuple[Kind, float]], p99_seconds: float, price: float) -> Iterator[Plan]:
    """Yield for each load, requests a second, the cores with which 99 % are answered within `p99_seconds`.

    Each core is a worker with its own queue of Poisson arrivals.
    """
    for ask, per_second in loads:
        cost = capacity.cost(ask)
        utilisation = min(UTILISATION, busiest((p99_seconds - cost) / cost))
        cores = per_second * cost / utilisation if utilisation else float("inf")
        yield Plan(ask, per_second, utilisation, cores, cores * price / 3600 / per_second * 1e6)
