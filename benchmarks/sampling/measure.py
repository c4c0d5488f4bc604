"""One cell of the table: everyone answers, is verified, and then works in turn."""

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
MOST_CALLS = 1000
PAUSE_SECONDS = 0.02
"""Between turns: threads that wait for work keep a processor busy for a while."""

Replies = dict[Contender, dict[str, Any]]


class Question(NamedTuple):
    """What everyone is asked."""

    folder: Path
    rows: int
    passes: int
    reference: Reference

    @property
    def calls_before(self) -> int:
        """Before anything counts; they are verified, and tell how many make a turn. One row says less than many."""
        return max(3, 10 // self.rows)

    def __str__(self) -> str:
        return f"{self.folder.name}, rows {self.rows}"


def measure(
    processes: Mapping[str, Process],
    contenders: Sequence[Contender],
    question: Question,
    threads: int,
    repeats: int,
) -> Cell:
    """Verify, then alternate; raises WrongAnswer or DoesNotRun if Dropserve itself fails."""
    folder, rows, passes, _ = question
    replies: Replies = {}
    distances: dict[Contender, float] = {}
    absent: dict[Contender, str] = {}
    for contender in contenders:
        try:
            reply = _ask(processes, contender, question, question.calls_before)
            distances[contender] = _verify(contender, reply, question)
            replies[contender] = reply
        except (DoesNotRun, WrongAnswer) as error:
            if contender.peer == OURS:
                raise
            absent[contender] = str(error)
    for contender in (ONE_PASS, LAYER_PRODUCTS, LARGE_PRODUCT):
        replies[contender] = _ask(processes, contender, question, question.calls_before)
    _check_the_check(replies[ONE_PASS], question)
    return Cell(
        model=folder.name,
        rows=rows,
        threads=threads,
        passes=passes,
        multiply_adds=multiply_adds(folder, rows, passes),
        turns=_alternate(processes, replies, question, repeats),
        standard_errors=distances,
        same_masks_error=same_masks_error(replies[SAME_SEED]["mean"], folder, passes, DEFAULT_SEED),
        absent=absent,
    )


def _verify(contender: Contender, reply: dict[str, Any], question: Question) -> float:
    distinct = 1 if contender == SAME_SEED else question.calls_before  # calls that do not repeat the same passes
    return standard_errors(reply["mean"], question.reference, question.passes * distinct)


def _check_the_check(one_pass: dict[str, Any], question: Question) -> None:
    """The answer without dropout must be refused, or the verification shows nothing."""
    try:
        standard_errors(one_pass["mean"], question.reference, question.passes * question.calls_before)
    except WrongAnswer:
        return
    raise WrongAnswer(f"{question.folder.name}: sampling cannot be told from one deterministic pass")


def _alternate(
    processes: Mapping[str, Process], replies: Replies, question: Question, repeats: int
) -> dict[Contender, list[float]]:
    """In turn, every other time backwards, so that nobody always follows the same one."""
    turns: dict[Contender, list[float]] = {contender: [] for contender in replies}
    for repeat in range(repeats):
        for contender in list(replies)[:: -1 if repeat % 2 else 1]:
            calls = ceil(TURN_SECONDS / median(replies[contender]["seconds"]))
            sleep(PAUSE_SECONDS)
            reply = _ask(processes, contender, question, min(calls, MOST_CALLS))
            turns[contender].append(median(reply["seconds"]))
    return turns


def _ask(processes: Mapping[str, Process], contender: Contender, question: Question, calls: int) -> dict[str, Any]:
    if contender.peer not in processes:
        raise DoesNotRun("its process did not start")
    return processes[contender.peer].ask(
        folder=str(question.folder.absolute()),
        variant=contender.variant,
        rows=question.rows,
        passes=question.passes,
        calls=calls,
    )
