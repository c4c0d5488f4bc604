"""Work in progress, which can pause in favour of shorter work and distribute pieces to remote workers.

The time of a pause counts as stage `queue`, so callers end their own stage before a pause.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from service.engine.stages import Stopwatch


class Estimate(NamedTuple):
    """The estimated time of work."""

    seconds: float
    distributable: bool = False
    """Whether remote workers can do pieces of it."""
    further: float = 0.0
    """Further seconds, unless sampling stops early."""

    @property
    def longest(self) -> float:
        """The seconds of the work if sampling does not stop early."""
        return self.seconds + self.further


class Job:
    """Work that does not share the machine, as outside the service: pauses do nothing, and nothing is distributed.

    `service.work` has the jobs that share the machine.
    """

    __slots__ = ("watch",)

    def __init__(self, watch: Stopwatch | None = None) -> None:
        """Measure the stages with the request's stopwatch, or a new one."""
        self.watch = watch or Stopwatch()
        """The stopwatch of the request."""

    def pause(self, seconds_left: float) -> None:  # noqa: ARG002 - used by jobs that share the machine
        """Let shorter work run first; called between runs of a graph, with the estimated seconds left.

        Jobs that share the machine raise an exception here to end the work.
        """
        self.watch.lap("queue")

    def distribute(
        self,
        seconds_left: float,
        cut: Callable[[], Sequence[Any]],  # noqa: ARG002
    ) -> Sequence[Any] | None:
        """Pause, and let remote workers do the pieces that `cut` returns.

        Return the result of each piece, None for one that was not done, or None without remote workers.
        """
        self.pause(seconds_left)
        return None
