"""The stages of a request, and the seconds spent in each."""

from time import perf_counter
from typing import Self

STAGES = ("receive", "queue", "parse", "run", "summarise", "encode")
"""Reading the body, waiting in the queue, decoding, running the network, summarising samples, and encoding."""


class Stopwatch:
    """Seconds by stage; `lap` adds the time since the previous lap to a stage."""

    __slots__ = ("_last", "seconds", "started")

    def __init__(self) -> None:
        """Start the first lap."""
        self.seconds: dict[str, float] = {}
        self.started = self._last = perf_counter()

    def lap(self, stage: str) -> None:
        """Add the time since the previous lap to a stage."""
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def copy(self) -> Self:
        """Return a stopwatch that goes on from here."""
        copy = type(self)()
        copy.started = self.started
        copy.add(self)
        return copy

    def add(self, other: Self) -> None:
        """Add the stages of another stopwatch, in place of the time since the last lap."""
        for stage, spent in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self._last = other._last


class Intervals(Stopwatch):
    """A stopwatch that also keeps when each stage first began and last ended, for traces."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        """Start the first lap."""
        super().__init__()
        self.spans: dict[str, tuple[float, float]] = {}

    def lap(self, stage: str) -> None:
        """Add the time since the previous lap to a stage."""
        began = self._last
        super().lap(stage)
        self.spans[stage] = (self.spans.get(stage, (began, 0.0))[0], self._last)

    def add(self, other: Self) -> None:
        """Add the stages and intervals of another stopwatch."""
        super().add(other)
        for stage, (began, ended) in other.spans.items():
            self.spans[stage] = (self.spans.get(stage, (began, 0.0))[0], ended)
