"""Where a request's time goes."""

from time import perf_counter

STAGES = ("parse", "queue", "run", "summarise", "encode")


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
