"""The measurements and their order."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.serving.contenders import Contender


class Plan(NamedTuple):
    """Models, workers and connections by number; seconds of each measurement, repeats of all."""

    models: list[str]
    workers: list[int]
    connections: list[int]
    seconds: int
    repeats: int

    def turns(self, contenders: Sequence[Contender]) -> Iterator[tuple[str, int, Contender]]:
        """Yield the turns: every contender once before any is repeated."""
        for model in self.models:
            for workers in self.workers:
                for repeat in range(self.repeats):
                    for contender in contenders[:: -1 if repeat % 2 else 1]:
                        if workers == 1 or not contender.one_worker:
                            yield model, workers, contender

    def counts(self, workers: int) -> list[int]:
        """Return all numbers of connections for the first number of workers, for others the highest."""
        return self.connections if workers == self.workers[0] else self.connections[-1:]
