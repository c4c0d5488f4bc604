"""Micro-batching: short calls of one kind that come in the same turn of the event loop are run as one.

No call waits for others to come: the first in a turn is run at once, those behind it, which would have to wait for it
anyway, together. Only calls whose rows' answers do not depend on batch-mates belong here: see `service.loading.warmup`.
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
    """A call whose rows may be run together with those of others."""

    kind: Hashable
    """Calls of one kind can be run as one."""
    inputs: Inputs
    rows: int
    run: Callable[[Inputs, Job], Output]
    job: Job
    cost: Cost
    """Of a row."""

    def alone(self) -> Output:
        """Run it by itself; raises what `run` does."""
        return self.run(self.inputs, self.job)


class Waiting(NamedTuple):
    """A call whose turn has not come yet."""

    call: BatchableCall
    answer: asyncio.Future[Output]
    context: contextvars.Context
    """The request's, so that what is logged for it alone bears its id."""


class Batches:
    """Use it within one event loop."""

    def __init__(self, max_seconds: float) -> None:
        """A batch is no larger than what takes so long."""
        self._max_seconds = max_seconds
        self._waiting: dict[Hashable, list[Waiting]] | None = None
        """By kind of call; None until the first call of this turn."""

    async def run(self, call: BatchableCall) -> Output:
        """Return its result; raises what it would raise alone."""
        loop = asyncio.get_running_loop()
        if self._waiting is None:
            self._waiting = {}
            loop.call_soon(self._end_turn, context=NO_REQUEST)
            return call.alone()
        waiting = Waiting(call, loop.create_future(), contextvars.copy_context())
        self._waiting.setdefault(call.kind, []).append(waiting)
        answer = await waiting.answer
        call.job.watch.lap("queue")  # until this call's turn has come again
        return answer

    def _end_turn(self) -> None:
        """Run the calls of this turn, in which all that was ready to run has run. The loop sees to others between two
        batches.
        """
        waiting, self._waiting = self._waiting or {}, None
        loop = asyncio.get_running_loop()
        for number, batch in enumerate(batch for of_kind in waiting.values() for batch in self._cut(of_kind)):
            if number == 0:
                _answer(batch)
            else:
                loop.call_soon(_answer, batch, context=NO_REQUEST)

    def _cut(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        """Cut into batches, in the order of coming."""
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
"""What is done for many bears no request's id."""


def _answer(batch: Sequence[Waiting]) -> None:
    """Run a batch, without the calls that are not waited for any more. If it fails, each is run alone, as one is at
    fault.
    """
    batch = [waiting for waiting in batch if not waiting.answer.done()]
    try:
        outputs = _run_together([waiting.call for waiting in batch])
    except DropserveError:  # it comes again, to the call at fault
        _answer_each(batch)
    except Exception as error:
        log.error("a batch failed; its calls are run one by one", calls=len(batch), exc_info=error)
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
    except Exception as error:  # noqa: BLE001 - it is the caller's
        waiting.answer.set_exception(error)


def _run_together(calls: Sequence[BatchableCall]) -> list[Output]:
    """Run calls of one kind as one."""
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
