"""Micro-batching: questions that come in the same turn of the event loop are asked as one.

Nobody waits for others to come: the first in a turn is answered at once, those behind it, which would have to wait
for it anyway, together. Each gets the bits that he would have got alone; see `Engine.rows_are_independent`.
"""

import asyncio
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from service.steps import Answer, Inputs, Question


class Waiting(NamedTuple):
    """Somebody who waits for an answer."""

    question: Question
    answer: asyncio.Future[Answer]


class Batches:
    """Use it within one event loop."""

    def __init__(self, max_seconds: float) -> None:
        """A batch is no larger than what takes so long, which is how long it keeps others waiting."""
        self._max_seconds = max_seconds
        self._waiting: dict[Hashable, list[Waiting]] | None = None
        """By kind of question; None while nobody has asked in this turn."""

    async def ask(self, question: Question) -> Answer:
        """Its answer; raises what it would raise alone."""
        loop = asyncio.get_running_loop()
        if self._waiting is None:
            self._waiting = {}
            loop.call_soon(self._end_turn)
            return question.alone()
        waiting = Waiting(question, loop.create_future())
        self._waiting.setdefault(question.kind, []).append(waiting)
        return await waiting.answer

    def _end_turn(self) -> None:
        """All that was ready to run has run, and has asked what it had to ask."""
        asked, self._waiting = self._waiting or {}, None
        for waiting in asked.values():
            for batch in self._cut(waiting):
                _answer(batch)

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


def _answer(batch: Sequence[Waiting]) -> None:
    """Whoever no longer waits is left out. If the batch fails, everybody is answered alone, as it is one's fault."""
    batch = [waiting for waiting in batch if not waiting.answer.done()]
    try:
        answers = _ask_together([waiting.question for waiting in batch])
    except Exception:  # noqa: BLE001 - whatever it is, it comes again, to the one whose it is
        for waiting in batch:
            _answer_alone(waiting)
        return
    for waiting, answer in zip(batch, answers, strict=True):
        waiting.answer.set_result(answer)


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
