"""Answer a request over HTTP, the Open Inference Protocol or gRPC: decode it, run inference, encode the answer.

Short work runs on the event loop, batched with similar requests of the same turn of the loop; long work runs in a
thread.
"""

from collections.abc import Callable
from typing import TypeVar

from service.engine.job import Estimate, Job
from service.inference import Answer, Request, decide_on, infer
from service.telemetry.records import Record, describe
from service.work.batching import BatchableCall, Batches
from service.work.scheduling import Gone, Scheduler, check_deadline

T = TypeVar("T")
Encode = Callable[[Answer], T]
Decode = Callable[[Job], tuple[Request, Encode[T]]]
"""A function that returns the request and the encoder of its answer; it pauses where it may take long."""


class Turns:
    """Answers requests, within one event loop."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Run long work by `scheduler`."""
        self._scheduler = scheduler
        self._batches = Batches(scheduler.inline_seconds)

    async def answer(
        self, record: Record, decode: Decode[T], decode_seconds: float, seconds: float, gone: Gone | None = None
    ) -> T:
        """Return the encoded answer within `seconds`, and set the outcome of the request's record.

        `decode_seconds` is the estimated time of decoding. Raises Overloaded, DeadlineExceeded or CallerGone like
        `Scheduler.run`, and the errors of decoding and the model.
        """
        check_deadline(seconds)
        watch = record.watch
        if decode_seconds > self._scheduler.inline_seconds:

            def decode_and_infer(job: Job) -> T:
                request, encode = decode(job)
                watch.lap("parse")
                return _encode(record, encode, infer(request, job))

            return await self._scheduler.run(decode_and_infer, Estimate(decode_seconds), seconds, watch, gone)
        job = Job(watch)
        request, encode = decode(job)
        watch.lap("parse")
        engine, rows = request.engine, request.rows
        if cost := engine.batch_cost(rows, request.sampling, self._scheduler.inline_seconds):
            call = BatchableCall((engine, request.sampling), request.inputs, rows, request.run, job, cost)
            return _encode(record, encode, decide_on(request, await self._batches.run(call)))
        return await self._scheduler.run(
            lambda job: _encode(record, encode, infer(request, job)), request.estimate(), seconds, watch, gone
        )


def _encode(record: Record, encode: Encode[T], answer: Answer) -> T:
    content = encode(answer)
    record.outcome = describe(answer)
    record.watch.lap("encode")
    return content
