"""Where a request's time goes."""

from time import perf_counter
from typing import Self

STAGES = ("receive", "queue", "parse", "run", "summarise", "encode")
"""Reading the body, waiting for a turn, JSON → arrays, the network, the numbers of its samples, arrays → JSON."""


class Stopwatch:
    """Seconds by stage. `lap` gives the time since the last one to a stage; a stage may come again."""

    __slots__ = ("_last", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last lap was spent on this."""
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def beside(self) -> Self:
        """A new one of its kind, for what several do together."""
        return type(self)()

    def add(self, other: Self) -> None:
        """What another noted since the last lap is this one's too."""
        for stage, spent in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self._last = other._last


class Intervals(Stopwatch):
    """A stopwatch that knows too when each stage first began and last ended, for traces."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        super().__init__()
        self.spans: dict[str, tuple[float, float]] = {}

    def lap(self, stage: str) -> None:
        """The time since the last lap was spent on this."""
        began = self._last
        super().lap(stage)
        self.spans[stage] = (self.spans.get(stage, (began, 0.0))[0], self._last)

    def add(self, other: Self) -> None:
        """What another noted since the last lap is this one's too."""
        super().add(other)
        for stage, (began, ended) in other.spans.items():
            self.spans[stage] = (self.spans.get(stage, (began, 0.0))[0], ended)
