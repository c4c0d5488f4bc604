"""Micro-batching: run short calls of one kind together if they arrive in the same turn of the event loop.

No call waits for later ones: the first of a turn runs at once, and those after it, which have to wait in any case,
run together. Calls must have rows whose answers do not depend on batch-mates: see `service.loading.warmup`.
"""

import asyncio
import contextvars
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import structlog

from service.engine.answers import Prediction, Sampled
from service.engine.costs import Cost
from service.engine.inputs import Inputs
from service.engine.job import Job
from service.errors import DropserveError

log = structlog.get_logger(__name__)

Output = Prediction | Sampled


@dataclass(frozen=True, slots=True, eq=False)
class BatchableCall:
    """A call whose rows may run together with those of others."""

    kind: Hashable
    """A key that is equal for calls that can run together."""
    inputs: Inputs
    rows: int
    run: Callable[[Inputs, Job], Output]
    job: Job
    cost: Cost
    """The cost of a row."""

    def alone(self) -> Output:
        """Run the call by itself. Raises the errors of `run`."""
        return self.run(self.inputs, self.job)


class Waiting(NamedTuple):
    """A call that waits for its batch."""

    call: BatchableCall
    answer: asyncio.Future[Output]
    context: contextvars.Context
    """The context of the request, whose id its log lines get."""


class Batches:
    """The batches of one event loop."""

    def __init__(self, max_seconds: float) -> None:
        """Limit the estimated time of a batch to `max_seconds`."""
        self._max_seconds = max_seconds
        self._waiting: dict[Hashable, list[Waiting]] | None = None
        """The waiting calls by kind; None until the first call of this turn."""

    async def run(self, call: BatchableCall) -> Output:
        """Return the result of a call. Raises the errors that it would raise alone."""
        loop = asyncio.get_running_loop()
        if self._waiting is None:
            self._waiting = {}
            loop.call_soon(self._end_turn, context=NO_REQUEST)
            return call.alone()
        waiting = Waiting(call, loop.create_future(), contextvars.copy_context())
        self._waiting.setdefault(call.kind, []).append(waiting)
        answer = await waiting.answer
        call.job.watch.lap("queue")  # the time until this task runs again
        return answer

    def _end_turn(self) -> None:
        """Run the waiting calls at the end of the turn; the loop runs other tasks between two batches."""
        waiting, self._waiting = self._waiting or {}, None
        loop = asyncio.get_running_loop()
        for number, batch in enumerate(batch for of_kind in waiting.values() for batch in self._cut(of_kind)):
            if number == 0:
                _answer(batch)
            else:
                loop.call_soon(_answer, batch, context=NO_REQUEST)

    def _cut(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        """Cut the calls into batches, in order of arrival."""
        batches: list[list[Waiting]] = [[]]
        rows = 0
        for one in waiting:
            rows += one.call.rows
            if batches[-1] and one.call.cost.seconds(rows) > self._max_seconds:
                batches.append([])
                rows = one.call.rows
            batches[-1].append(one)
        return batches


NO_REQUEST = contextvars.Context()
"""An empty context, as the log lines of a batch have no request's id."""


def _answer(batch: Sequence[Waiting]) -> None:
    """Run a batch, without cancelled calls; if it fails, run each call alone, as only one may be invalid."""
    batch = [waiting for waiting in batch if not waiting.answer.done()]
    try:
        outputs = _run_together([waiting.call for waiting in batch])
    except DropserveError:  # raised again for the invalid call
        _answer_each(batch)
    except Exception as error:
        log.error("a batch failed; its calls run one by one", calls=len(batch), exc_info=error)
        _answer_each(batch)
    else:
        for waiting, output in zip(batch, outputs, strict=True):
            waiting.answer.set_result(output)


def _answer_each(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        waiting.context.run(_answer_alone, waiting)


def _answer_alone(waiting: Waiting) -> None:
    try:
        waiting.answer.set_result(waiting.call.alone())
    except Exception as error:  # noqa: BLE001 - raised for the caller
        waiting.answer.set_exception(error)


def _run_together(calls: Sequence[BatchableCall]) -> list[Output]:
    """Run calls of one kind together."""
    if len(calls) < 2:
        return [call.alone() for call in calls]
    for call in calls:
        call.job.watch.lap("queue")
    first = calls[0]
    watch = first.job.watch.beside()
    output = first.run(_join([call.inputs for call in calls]), Job(watch))
    outputs: list[Output] = []
    start = 0
    for call in calls:
        call.job.watch.add(watch)
        outputs.append(output.take(slice(start, start + call.rows)))
        start += call.rows
    return outputs


def _join(inputs: Sequence[Inputs]) -> Inputs:
    return {name: np.concatenate([some[name] for some in inputs]) for name in inputs[0]}
