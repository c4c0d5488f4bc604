"""Micro-batching: questions that come in the same turn of the event loop are asked as one.

Nobody waits for others to come: the first in a turn is answered at once, those behind it, which would have to wait
for it anyway, together. Only questions whose rows' answers do not depend on batch-mates come here; see
`service.loading.warmup`.
"""

import asyncio
import contextvars
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import structlog

from service.engine.steps import Answer, Inputs, Question
from service.errors import DropserveError

log = structlog.get_logger(__name__)


class Waiting(NamedTuple):
    """Somebody who waits for an answer."""

    question: Question
    answer: asyncio.Future[Answer]
    context: contextvars.Context
    """The request's, so that what is logged for it alone bears its id."""


class Batches:
    """Use it within one event loop."""

    def __init__(self, max_seconds: float) -> None:
        """A batch is no larger than what takes so long."""
        self._max_seconds = max_seconds
        self._waiting: dict[Hashable, list[Waiting]] | None = None
        """By kind of question; None while nobody has asked in this turn."""

    async def ask(self, question: Question) -> Answer:
        """Its answer; raises what it would raise alone."""
        loop = asyncio.get_running_loop()
        if self._waiting is None:
            self._waiting = {}
            loop.call_soon(self._end_turn, context=NOBODYS)
            return question.alone()
        waiting = Waiting(question, loop.create_future(), contextvars.copy_context())
        self._waiting.setdefault(question.kind, []).append(waiting)
        answer = await waiting.answer
        question.watch.lap("queue")  # until it is this caller's turn again
        return answer

    def _end_turn(self) -> None:
        """All that was ready to run has run, and has asked what it had to ask. Others come between two batches."""
        asked, self._waiting = self._waiting or {}, None
        loop = asyncio.get_running_loop()
        for number, batch in enumerate(batch for waiting in asked.values() for batch in self._cut(waiting)):
            if number == 0:
                _answer(batch)
            else:
                loop.call_soon(_answer, batch, context=NOBODYS)

    def _cut(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        """In the order they came."""
        batches: list[list[Waiting]] = [[]]
        rows = 0
        for one in waiting:
            rows += one.question.rows
            if batches[-1] and one.question.cost.seconds(rows) > self._max_seconds:
                batches.append([])
                rows = one.question.rows
            batches[-1].append(one)
        return batches


NOBODYS = contextvars.Context()
"""What is done for many bears nobody's request id."""


def _answer(batch: Sequence[Waiting]) -> None:
    """Whoever no longer waits is left out. If the batch fails, everybody is answered alone, as it is one's fault."""
    batch = [waiting for waiting in batch if not waiting.answer.done()]
    try:
        answers = _ask_together([waiting.question for waiting in batch])
    except DropserveError:  # it comes again, to the one whose it is
        _answer_each(batch)
    except Exception as error:
        log.error("a batch failed; its questions are asked one by one", questions=len(batch), exc_info=error)
        _answer_each(batch)
    else:
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.answer.set_result(answer)


def _answer_each(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        waiting.context.run(_answer_alone, waiting)


def _answer_alone(waiting: Waiting) -> None:
    try:
        waiting.answer.set_result(waiting.question.alone())
    except Exception as error:  # noqa: BLE001 - it is the asker's
        waiting.answer.set_exception(error)


def _ask_together(questions: Sequence[Question]) -> list[Answer]:
    """Questions of one kind as one."""
    if len(questions) < 2:
        return [question.alone() for question in questions]
    for question in questions:
        question.watch.lap("queue")
    first = questions[0]
    watch = first.watch.beside()
    answer = first.ask(_join([question.inputs for question in questions]), watch)
    answers = []
    start = 0
    for question in questions:
        question.watch.add(watch)
        answers.append(answer.take(slice(start, start + question.rows)))
        start += question.rows
    return answers


def _join(inputs: Sequence[Inputs]) -> Inputs:
    return {name: np.concatenate([some[name] for some in inputs]) for name in inputs[0]}
