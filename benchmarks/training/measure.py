"""One cell of the table: everyone learns, is verified, and then trains in turn."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median
from typing import Any, NamedTuple

from benchmarks.sampling.processes import DoesNotRun, Process
from benchmarks.training.contenders import OURS
from benchmarks.training.networks import BATCH, CLASSES

FIRST_EPOCHS = 5
"""Before anything counts: what compiles does so, and whoever does not learn as we do shows it."""
CHANCE = log(CLASSES)
BAND = 0.2
"""How far a contender's loss may be from ours, in nats: first weights, orders and masks are its own. Without dropout it
is farther away.
"""


class DoesNotLearn(Exception):
    """A contender's loss is not what this network's is on these rows."""


class Cell(NamedTuple):
    """What was measured; seconds of an epoch, by contender."""

    network: str
    threads: int
    rows: int
    turns: dict[str, list[float]]
    losses: dict[str, float]
    """Mean training loss, with dropout, in the last epoch before anything counts; nats."""
    absent: dict[str, str]

    def per_second(self, contender: str) -> float:
        """Rows; of the median turn."""
        return self.rows / median(self.turns[contender])

    def ratio(self, peer: str) -> float:
        """How many times as fast as the peer we are."""
        return self.per_second(OURS) / self.per_second(peer)


def measure(processes: Mapping[str, Process], network: str, threads: int, steps: int, repeats: int) -> Cell:
    """Verify, then alternate; raises DoesNotLearn or DoesNotRun if it is ourselves who fail."""
    question = {"network": network, "steps": steps, "seed": 0}
    losses: dict[str, float] = {}
    absent: dict[str, str] = {}
    for contender in sorted(processes, key=lambda name: name != OURS):  # ours first: the others' are held against it
        try:
            losses[contender] = verified(_learn(processes[contender], question), losses.get(OURS))
        except (DoesNotRun, DoesNotLearn) as error:
            if contender == OURS:
                raise
            absent[contender] = str(error)
    turns: dict[str, list[float]] = {contender: [] for contender in losses}
    for repeat in range(repeats):
        for contender in alternated(list(losses), repeat):
            turns[contender].append(processes[contender].ask(**question)["seconds"])
    return Cell(network, threads, steps * BATCH, turns, losses, absent)


def alternated(contenders: Sequence[str], repeat: int) -> Sequence[str]:
    """Every other time backwards, so that nobody always follows the same one."""
    return contenders[:: -1 if repeat % 2 else 1]


def verified(loss: float, ours: float | None) -> float:
    """The loss, which must be far below that of chance and near ours; raises DoesNotLearn."""
    if not loss < CHANCE / 2:
        raise DoesNotLearn(f"its loss of {loss:.3f} is not half that of chance, {CHANCE:.3f}")
    if ours is not None and abs(loss - ours) > BAND:
        raise DoesNotLearn(f"its loss of {loss:.3f} is more than {BAND} from ours, {ours:.3f}")
    return loss


def _learn(process: Process, question: dict[str, Any]) -> float:
    return float([process.ask(**question)["loss"] for _ in range(FIRST_EPOCHS)][-1])
