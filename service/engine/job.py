"""Work in progress: where it lets other work go first, and where pieces of it may be done by remote workers.

The time of a pause counts as stage `queue`, so what comes before it notes its own stage first.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from service.engine.stages import Stopwatch


class Estimate(NamedTuple):
    """How long work takes, as far as is known before it begins."""

    seconds: float
    distributable: bool = False
    """Whether remote workers may do pieces of it."""


class Job:
    """Work that has the machine to itself, as outside the service: a pause does nothing, and nothing is distributed.

    `service.work` has the jobs that share the machine.
    """

    __slots__ = ("watch",)

    def __init__(self, watch: Stopwatch | None = None) -> None:
        self.watch = watch or Stopwatch()
        """Of the request."""

    def pause(self, seconds_left: float) -> None:  # noqa: ARG002 - it is for jobs that share the machine
        """Let work with less left go first; to be called between runs of a graph, with the seconds that the rest takes.

        May raise what ends the work.
        """
        self.watch.lap("queue")

    def distribute(
        self,
        seconds_left: float,
        cut: Callable[[], Sequence[Any]],  # noqa: ARG002
    ) -> Sequence[Any] | None:
        """Pause, and have remote workers do the pieces that `cut` makes.

        Return the result of each, None for one that was not done; None where there are no remote workers.
        """
        self.pause(seconds_left)
        return None
