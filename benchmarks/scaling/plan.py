"""The capacity model → what a load needs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.scaling.capacity import Ask, Capacity
from benchmarks.scaling.queueing import busiest

UTILISATION = 0.7
"""Of the cores, unless the allowed latency asks for less: the rest is for bursts, and for a replica that is lost."""


class Plan(NamedTuple):
    """What one load needs."""

    ask: Ask
    per_second: float
    utilisation: float
    cores: float
    """Infinite where a single request takes longer than is allowed."""
    price_per_million: float
    """Of so many requests, in the currency of the price of a core's hour."""


def plan(capacity: Capacity, loads: Sequence[tuple[Ask, float]], p99_seconds: float, price: float) -> Iterator[Plan]:
    """For each load, requests a second, so many cores that 99 % are answered within `p99_seconds`.

    Each core is a worker with a queue of its own, to which requests come at random: no worker helps another.
    """
    for ask, per_second in loads:
        cost = capacity.cost(ask)
        utilisation = min(UTILISATION, busiest((p99_seconds - cost) / cost))
        cores = per_second * cost / utilisation if utilisation else float("inf")
        yield Plan(ask, per_second, utilisation, cores, cores * price / 3600 / per_second * 1e6)
