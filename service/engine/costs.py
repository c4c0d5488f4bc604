"""How long work will take: measured at warm-up, so that a scheduler can choose, and refuse, before it begins."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import NamedTuple


class Cost(NamedTuple):
    """Work on n things, cut into runs of at most `per_run`, takes a constant a run and as much again for each."""

    each: float = 0.0
    run: float = 0.0
    per_run: int = 1

    def seconds(self, count: int) -> float:
        """About as long as this many take."""
        runs = -(-count // self.per_run)
        return count * self.each + runs * self.run


def measure(work: Callable[[int], object], few: int, many: int) -> Cost:
    """The line through the times of a few things and of many, as one run."""
    first = _seconds(lambda: work(few))
    if many <= few:
        return Cost(each=first / few, per_run=few)
    each = max(0.0, _seconds(lambda: work(many)) - first) / (many - few)
    return Cost(each, max(0.0, first - few * each), many)


def _seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of a few runs; the first, which allocates, is not counted.

    Time on the clock, or on the processor where that is less: another process that has it must not make us slow.
    """
    work()
    times = []
    for _ in range(repeats):
        clock, processor = perf_counter(), process_time()
        work()
        times.append(min(perf_counter() - clock, process_time() - processor))
    return min(times)
