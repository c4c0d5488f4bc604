"""Estimate how long work takes, from measurements at warm-up, so that a scheduler can order or refuse it."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import NamedTuple


class Cost(NamedTuple):
    """A linear cost in seconds: `each` per item, and `run` per run of at most `per_run` items."""

    each: float = 0.0
    run: float = 0.0
    per_run: int = 1

    def seconds(self, count: int) -> float:
        """Return the estimated seconds for this many items."""
        runs = -(-count // self.per_run)
        return count * self.each + runs * self.run


def measure(work: Callable[[int], object], few: int, many: int) -> Cost:
    """Return the line through the times of runs with few and with many items."""
    first = _seconds(lambda: work(few))
    if many <= few:
        return Cost(each=first / few, per_run=few)
    each = max(0.0, _seconds(lambda: work(many)) - first) / (many - few)
    return Cost(each, max(0.0, first - few * each), many)


REPEATS = 5
LONG = 0.05
"""Seconds from which on a run is not repeated: what the first one allocates matters little."""


def _seconds(work: Callable[[], object]) -> float:
    """Return the shortest time of a few runs, without the first, which allocates memory, unless that is long.

    A run counts by the clock, or by processor time where that is less, so that other processes do not matter.
    """
    first = _seconds_of(work)
    return first if first > LONG else min(_seconds_of(work) for _ in range(REPEATS))


def _seconds_of(work: Callable[[], object]) -> float:
    clock, processor = perf_counter(), process_time()
    work()
    return min(perf_counter() - clock, process_time() - processor)
