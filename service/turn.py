"""Answer the requests that arrive in one turn of the event loop together: decode, run inference, encode.

A turn begins with the first bytes received, over HTTP, the Open Inference Protocol or gRPC, and ends once the loop has
read all connections. Its short requests of one kind share one run of the model; nothing waits for a later turn. Long
work runs in threads (`service.work.scheduling`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

import structlog

from service.engine.costs import Cost
from service.engine.job import Estimate, Job
from service.engine.stages import Stopwatch
from service.errors import DropserveError
from service.inference import Answer, Request, infer, join
from service.telemetry.records import Record, describe
from service.work.scheduling import Gone, Scheduler, check_deadline

log = structlog.get_logger(__name__)

T = TypeVar("T")
Encode = Callable[[Answer, slice], T]
"""A function that encodes the answer to these rows of a run, which may have rows of other requests."""
Decode = Callable[[Job], tuple[Request, Encode[T]]]
"""A function that returns the request and the encoder of its answer; it pauses where it may take long."""


BATCH_FACTOR = 4
"""How much longer a batch may take than one request on the event loop: all of them together save more than they delay
others. Batches of four milliseconds answer 1.7 times as many requests for samples as those of one (64 connections)."""

UNMEASURED_WAIT = 0.02
"""Seconds of waiting in a socket that are not worth a system call for each request."""


class Pending(ABC, Generic[T]):
    """A request that is answered at the end of the turn."""

    __slots__ = ("encode", "request", "rows")

    record: Record
    request: Request
    rows: int
    encode: Encode[T]

    @abstractmethod
    def decode(self, job: Job) -> tuple[Request, Encode[T]]:
        """Return the request and the encoder of its answer."""

    @abstractmethod
    def answer(self, content: T) -> None:
        """Send the encoded answer."""

    @abstractmethod
    def add_stages(self, watch: Stopwatch) -> None:
        """Add the stages of the turn to those of the request."""

    @abstractmethod
    def refuse(self, error: Exception) -> None:
        """Send an error in place of the answer."""

    @abstractmethod
    def defer(self) -> None:
        """Run the request outside of the turn, as it takes too long."""


class Batch:
    """Calls of one kind, which share a run."""

    __slots__ = ("_cost", "calls", "rows")

    def __init__(self, cost: Cost | None) -> None:
        """Take calls with this cost of a row; None for a single call."""
        self._cost = cost
        self.calls: list[Pending[Any]] = []
        self.rows = 0

    def has_room(self, rows: int, max_seconds: float) -> bool:
        """Return whether a request of so many rows, which takes `max_seconds` at most by itself, can join the run."""
        if self._cost is None or (rows > self.calls[0].rows and self._cost.seconds(rows) > max_seconds):
            return False
        return self._cost.seconds(self.rows + rows) <= BATCH_FACTOR * max_seconds

    def add(self, call: Pending[Any]) -> None:
        """Add a call."""
        self.calls.append(call)
        self.rows += call.rows


class Turns:
    """The turns of one event loop."""

    def __init__(self, scheduler: Scheduler, watch: type[Stopwatch] = Stopwatch) -> None:
        """Run long work by `scheduler`; requests of its `inline_seconds` at most run in their turn."""
        self._scheduler = scheduler
        self._make_watch = watch
        self._watch: Stopwatch | None = None
        """The stages of the turn whose bytes are being read."""
        self._max_seconds = scheduler.inline_seconds
        self._reads: list[Callable[[], None]] = []
        self._calls: list[Pending[Any]] = []
        self._open = False
        """Whether a turn has begun that has not ended."""
        self._on_answered: Callable[[], None] = lambda: None
        self._began = 0.0
        self.is_prompt = False
        """Whether the previous turn began so recently that no bytes read in this one can have waited long."""

    def on_answered(self, call: Callable[[], None]) -> None:
        """Call a function each time that calls were answered."""
        self._on_answered = call

    def watch(self) -> Stopwatch:
        """Return the stages of the turn whose bytes are being read, or new ones for a request that comes between."""
        return self._watch or self._make_watch()

    def read_later(self, read: Callable[[], None]) -> None:
        """Call `read` at the end of this turn, to parse received bytes."""
        self._reads.append(read)
        if not self._open:
            self._begin()

    def add(self, call: Pending[Any]) -> None:
        """Answer a call at the end of this turn."""
        self._calls.append(call)
        if not self._open:
            self._begin()

    async def answer(
        self, record: Record, decode: Decode[T], decode_seconds: float, seconds: float, gone: Gone | None = None
    ) -> T:
        """Return the encoded answer within `seconds`, and set the outcome of the request's record.

        `decode_seconds` is the estimated time of decoding. Raises Overloaded, DeadlineExceeded or CallerGone like
        `Scheduler.run`, and the errors of decoding and the model.
        """
        check_deadline(seconds)
        if decode_seconds > self._max_seconds:
            return await self._scheduler.run(
                lambda job: _run_alone(record, *decode(job), job), Estimate(decode_seconds), seconds, record.watch, gone
            )
        call = Awaited(record, decode)
        self.add(call)
        if content := await call.outcome:
            return content[0]
        request, encode = call.request, call.encode
        return await self._scheduler.run(
            lambda job: _run_alone(record, request, encode, job), request.estimate(), seconds, record.watch, gone
        )

    def _begin(self) -> None:
        self._open = True
        asyncio.get_running_loop().call_soon(self._end, context=NO_REQUEST)

    def _end(self) -> None:
        """Parse the received bytes, and answer the calls of the turn, those of one kind together."""
        watch = self._watch = self._make_watch()
        self._began, self.is_prompt = watch.started, watch.started - self._began < UNMEASURED_WAIT
        reads, self._reads = self._reads, []
        for read in reads:
            try:
                read()
            except Exception as error:
                log.error("a connection could not be read", exc_info=error)
        watch.lap("receive")
        self._watch = None
        calls, self._calls, self._open = self._calls, [], False
        batches = self._cut_batches(calls, Job(watch))
        watch.lap("parse")
        for batch in batches[1:]:  # the loop reads connections between two batches
            asyncio.get_running_loop().call_soon(self._continue, batch, watch.copy(), context=NO_REQUEST)
        if batches:
            _answer(batches[0].calls, watch)
        self._on_answered()

    def _continue(self, batch: Batch, watch: Stopwatch) -> None:
        """Answer a further batch of an earlier turn."""
        watch.lap("queue")
        _answer(batch.calls, watch)
        self._on_answered()

    def _cut_batches(self, calls: Sequence[Pending[Any]], job: Job) -> list[Batch]:
        """Decode the calls, and return the short ones in batches of one kind, in order of arrival."""
        batches: list[Batch] = []
        latest: dict[Hashable, Batch] = {}
        """The last batch of each kind."""
        for call in calls:
            try:
                request, call.encode = call.decode(job)
            except Exception as error:  # noqa: BLE001 - sent to the caller
                call.add_stages(job.watch.copy())
                call.refuse(error)
                continue
            call.request, call.rows, kind = request, request.rows, request.kind
            batch = latest.get(kind)
            if batch and batch.has_room(call.rows, self._max_seconds):
                batch.add(call)
                continue
            cost = request.engine.batch_cost(call.rows, request.sampling, self._max_seconds)
            if cost is None and request.estimate().longest > self._max_seconds:
                call.defer()
                continue
            batch = Batch(cost)
            batch.add(call)
            batches.append(batch)
            latest[kind] = batch
        return batches


class Awaited(Pending[T]):
    """A call whose answer a coroutine awaits."""

    __slots__ = ("_decode", "outcome", "record")

    def __init__(self, record: Record, decode: Decode[T]) -> None:
        """Answer the request that `decode` returns."""
        self.record = record
        self._decode = decode
        self.outcome: asyncio.Future[tuple[T] | None] = asyncio.get_running_loop().create_future()
        """The encoded answer; None if the request runs outside of the turn."""

    def decode(self, job: Job) -> tuple[Request, Encode[T]]:
        """Return the request and the encoder of its answer."""
        return self._decode(job)

    def answer(self, content: T) -> None:
        """Return the encoded answer to the coroutine, unless it was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result((content,))

    def add_stages(self, watch: Stopwatch) -> None:
        """Add the stages of the turn to those of the request."""
        self.record.watch.add(watch)

    def refuse(self, error: Exception) -> None:
        """Raise the error in the coroutine, unless it was cancelled."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def defer(self) -> None:
        """Let the coroutine run the request."""
        if not self.outcome.done():
            self.outcome.set_result(None)


NO_REQUEST = Context()
"""An empty context, as the log lines of a turn have no request's id."""


def _answer(batch: Sequence[Pending[Any]], watch: Stopwatch) -> None:
    """Answer calls together; if that fails, each alone, as only one may be invalid."""
    try:
        answer = infer(join([call.request for call in batch]), Job(watch))
    except Exception as error:
        if len(batch) == 1:
            batch[0].add_stages(watch.copy())
            batch[0].refuse(error)
            return
        if not isinstance(error, DropserveError):
            log.error("a batch failed; its calls run one by one", calls=len(batch), exc_info=error)
        for call in batch:
            _answer([call], watch.copy())
        return
    _send(batch, answer, watch)


def _send(batch: Sequence[Pending[Any]], answer: Answer, watch: Stopwatch) -> None:
    """Encode the answers to all calls of a batch, and send each."""
    contents: list[tuple[Pending[Any], Any]] = []
    start = 0
    for call in batch:
        rows = slice(start, start + call.rows)
        start = rows.stop
        try:
            contents.append((call, call.encode(answer, rows)))
        except Exception as error:  # noqa: BLE001 - sent to the caller
            call.refuse(error)
            continue
        call.record.outcome = describe(answer, rows)
    watch.lap("encode")
    for call, content in contents:
        call.add_stages(watch)
        try:
            call.answer(content)
        except Exception as error:
            log.error("an answer could not be sent", path=call.record.path[:200], exc_info=error)


def _run_alone(record: Record, request: Request, encode: Encode[T], job: Job) -> T:
    """Run a request in a thread, and return its encoded answer."""
    record.watch.lap("parse")
    answer = infer(request, job)
    rows = slice(0, request.rows)
    content = encode(answer, rows)
    record.outcome = describe(answer, rows)
    record.watch.lap("encode")
    return content
