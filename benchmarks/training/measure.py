"""Measure one cell of the table: each contender learns, is verified, and then trains in turn."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median
from typing import Any, NamedTuple

from benchmarks.sampling.processes import DoesNotRun, Process
from benchmarks.training.contenders import OURS
from benchmarks.training.networks import BATCH, CLASSES

FIRST_EPOCHS = 5
"""Epochs before timing, in which compilers run and the losses are verified."""
CHANCE = log(CLASSES)
"""The loss of random guessing."""
BAND = 0.2
"""The largest difference of losses in nats: first weights, orders and masks differ. Without dropout it is larger."""


class DoesNotLearn(Exception):
    """A contender's loss is not that of this network on these rows."""


class Cell(NamedTuple):
    """Measurements; seconds of an epoch, by contender."""

    network: str
    threads: int
    rows: int
    turns: dict[str, list[float]]
    losses: dict[str, float]
    """Mean training loss, with dropout, in the last epoch before timing; nats."""
    absent: dict[str, str]

    def per_second(self, contender: str) -> float:
        """Return rows a second, of the median turn."""
        return self.rows / median(self.turns[contender])

    def ratio(self, peer: str) -> float:
        """Return the speed of Dropserve relative to the peer's."""
        return self.per_second(OURS) / self.per_second(peer)


def measure(processes: Mapping[str, Process], network: str, threads: int, steps: int, repeats: int) -> Cell:
    """Verify, then alternate; raise DoesNotLearn or DoesNotRun if Dropserve itself fails."""
    request = {"network": network, "steps": steps, "seed": 0}
    losses: dict[str, float] = {}
    absent: dict[str, str] = {}
    for contender in sorted(processes, key=lambda name: name != OURS):  # ours first, as the reference
        try:
            losses[contender] = verified(_learn(processes[contender], request), losses.get(OURS))
        except (DoesNotRun, DoesNotLearn) as error:
            if contender == OURS:
                raise
            absent[contender] = str(error)
    turns: dict[str, list[float]] = {contender: [] for contender in losses}
    for repeat in range(repeats):
        for contender in alternated(list(losses), repeat):
            turns[contender].append(processes[contender].call(**request)["seconds"])
    return Cell(network, threads, steps * BATCH, turns, losses, absent)


def alternated(contenders: Sequence[str], repeat: int) -> Sequence[str]:
    """Return the contenders, reversed in every other repeat."""
    return contenders[:: -1 if repeat % 2 else 1]


def verified(loss: float, ours: float | None) -> float:
    """Return the loss if it is far below that of chance and near Dropserve's; raise DoesNotLearn."""
    if not loss < CHANCE / 2:
        raise DoesNotLearn(f"its loss of {loss:.3f} is not half that of chance, {CHANCE:.3f}")
    if ours is not None and abs(loss - ours) > BAND:
        raise DoesNotLearn(f"its loss of {loss:.3f} is more than {BAND} from ours, {ours:.3f}")
    return loss


def _learn(process: Process, request: dict[str, Any]) -> float:
    return float([process.call(**request)["loss"] for _ in range(FIRST_EPOCHS)][-1])
