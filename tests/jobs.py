"""Jobs for tests."""

from service.engine.job import Job


class NotedPauses(Job):
    """Work whose pauses are noted, with the seconds left at each."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[float] = []

    def pause(self, seconds_left: float) -> None:
        self.left.append(seconds_left)
