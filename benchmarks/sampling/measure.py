"""Measure one cell of the table: each contender answers, is verified, and then runs in turn."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any, NamedTuple

from benchmarks.sampling.cells import Cell
from benchmarks.sampling.contenders import (
    LARGE_PRODUCT,
    LAYER_PRODUCTS,
    ONE_PASS,
    OURS,
    SAME_SEED,
    Contender,
)
from benchmarks.sampling.models import multiply_adds
from benchmarks.sampling.peers.dropserve import DEFAULT_SEED
from benchmarks.sampling.processes import DoesNotRun, Process
from benchmarks.sampling.verify import Reference, WrongAnswer, same_masks_error, standard_errors

TURN_SECONDS = 0.3
"""Seconds of a turn."""
MOST_CALLS = 1000
PAUSE_SECONDS = 0.02
"""Seconds between turns: idle threads keep a processor busy for a while."""

Replies = dict[Contender, dict[str, Any]]


class Case(NamedTuple):
    """The call that each contender makes."""

    folder: Path
    rows: int
    passes: int
    reference: Reference

    @property
    def calls_before(self) -> int:
        """Calls that are verified before timing, and set the length of a turn: more for few rows."""
        return max(3, 10 // self.rows)

    def __str__(self) -> str:
        """Return network and rows as text."""
        return f"{self.folder.name}, rows {self.rows}"


def measure(
    processes: Mapping[str, Process],
    contenders: Sequence[Contender],
    case: Case,
    threads: int,
    repeats: int,
) -> Cell:
    """Verify, then alternate; raise WrongAnswer or DoesNotRun if Dropserve itself fails."""
    folder, rows, passes, _ = case
    replies: Replies = {}
    distances: dict[Contender, float] = {}
    absent: dict[Contender, str] = {}
    for contender in contenders:
        try:
            reply = _call(processes, contender, case, case.calls_before)
            distances[contender] = _verify(contender, reply, case)
            replies[contender] = reply
        except (DoesNotRun, WrongAnswer) as error:
            if contender.peer == OURS:
                raise
            absent[contender] = str(error)
    for contender in (ONE_PASS, LAYER_PRODUCTS, LARGE_PRODUCT):
        replies[contender] = _call(processes, contender, case, case.calls_before)
    _check_the_check(replies[ONE_PASS], case)
    return Cell(
        model=folder.name,
        rows=rows,
        threads=threads,
        passes=passes,
        multiply_adds=multiply_adds(folder, rows, passes),
        turns=_alternate(processes, replies, case, repeats),
        standard_errors=distances,
        same_masks_error=same_masks_error(replies[SAME_SEED]["mean"], folder, passes, DEFAULT_SEED),
        absent=absent,
    )


def _verify(contender: Contender, reply: dict[str, Any], case: Case) -> float:
    distinct = 1 if contender == SAME_SEED else case.calls_before  # calls with different samples
    return standard_errors(reply["mean"], case.reference, case.passes * distinct)


def _check_the_check(one_pass: dict[str, Any], case: Case) -> None:
    """Check that the verification refuses the answer without dropout."""
    try:
        standard_errors(one_pass["mean"], case.reference, case.passes * case.calls_before)
    except WrongAnswer:
        return
    raise WrongAnswer(f"{case.folder.name}: sampling cannot be distinguished from one deterministic pass")


def _alternate(
    processes: Mapping[str, Process], replies: Replies, case: Case, repeats: int
) -> dict[Contender, list[float]]:
    """Time the contenders in turn, in alternating order."""
    turns: dict[Contender, list[float]] = {contender: [] for contender in replies}
    for repeat in range(repeats):
        for contender in list(replies)[:: -1 if repeat % 2 else 1]:
            calls = ceil(TURN_SECONDS / median(replies[contender]["seconds"]))
            sleep(PAUSE_SECONDS)
            reply = _call(processes, contender, case, min(calls, MOST_CALLS))
            turns[contender].append(median(reply["seconds"]))
    return turns


def _call(processes: Mapping[str, Process], contender: Contender, case: Case, calls: int) -> dict[str, Any]:
    if contender.peer not in processes:
        raise DoesNotRun("its process did not start")
    return processes[contender.peer].call(
        folder=str(case.folder.absolute()),
        variant=contender.variant,
        rows=case.rows,
        passes=case.passes,
        calls=calls,
    )
