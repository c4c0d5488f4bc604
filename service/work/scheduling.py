"""Short work is done at once, long work step by step in a thread of its own, so that it keeps nobody else waiting.

Work comes as a generator of short steps (`service.engine.steps.Steps`) that tells how long its rest will take.
The thread always takes the next step of what has least left (shortest remaining processing time; Schrage 1968):
a heavy request slows a light one by a step, not by its whole length, and of many heavy ones some are done in
time, where equal turns would have all of them done too late. Admission is bounded, each piece has a deadline,
work that would miss it is refused before it begins, and work that nobody waits for any more is dropped.
"""

import asyncio
import contextvars
import itertools
import math
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog

from service.engine.steps import Offer, Question, Said, Steps, seconds_left
from service.errors import CallerGone, DeadlineExceeded, Overloaded, Unavailable
from service.work.batching import Batches

log = structlog.get_logger(__name__)

T = TypeVar("T")
Gone = Callable[[], Awaitable[None]]
"""Returns when nobody waits for the answer any more."""


PACE_WEIGHT = 0.05
"""Of each step in the pace; so it follows the machine's load within some dozens of steps."""
MEASURABLE = 1e-4
"""Seconds of progress below which a step says nothing of the pace."""
SLOWEST = 20.0


class Crew(Protocol):
    """Others, who do pieces of large requests: replicas of the service elsewhere."""

    size: int
    """How many can be counted on."""

    async def do(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """What came of each piece; None for one that they did not do, which is done here then."""


@dataclass(slots=True, eq=False)
class Job:
    """A piece of work and the caller who waits for it."""

    steps: Steps[Any]
    said: Said
    """What they yielded last."""
    deadline: float
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    context: contextvars.Context
    """The request's, so that what its steps log bears its id."""
    abandoned: bool = False
    errand: asyncio.Task[None] | None = None
    """While others do pieces of it."""

    @property
    def remaining(self) -> float:
        """Seconds of work left, as far as is known."""
        return seconds_left(self.said)


class Scheduler:
    """One worker thread and the work that waits for it. Use it within one event loop."""

    def __init__(self, max_jobs: int, inline_seconds: float, crew: Crew | None = None) -> None:
        self._max_jobs = max_jobs
        self._crew = crew
        self._inline_seconds = inline_seconds
        self._batches = Batches(inline_seconds)
        self._jobs: set[Job] = set()
        self.steps_taken = 0
        """By the thread, since it began."""
        self.pace = 1.0
        """How many times as long as foretold the steps take at present, because the machine has other work too."""
        self._turns: queue.PriorityQueue[tuple[float, int, Job | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._work, name="dropserve-worker", daemon=True)
        self._thread.start()

    async def run(self, steps: Steps[T], seconds: float, gone: Gone | None = None) -> T:
        """The work's result, within so many seconds, unless `gone` returns first: nobody waits any more.

        Raises Overloaded or DeadlineExceeded, at once where it can be foreseen; CallerGone; what the work raises.
        """
        if seconds <= 0:
            steps.close()
            raise DeadlineExceeded("the deadline passed before the request was read", seconds=seconds)
        try:
            said = next(steps)
            while seconds_left(said) <= self._inline_seconds:
                said = steps.send(await self._batches.ask(said) if isinstance(said, Question) else None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        try:
            self._check_room(self._expected(said), seconds)
        except Unavailable:
            steps.close()
            raise
        return await self._queue(steps, said, seconds, gone)

    @property
    def depth(self) -> int:
        """How many pieces of work are waiting or being worked on."""
        return len(self._jobs)

    @property
    def remaining(self) -> float:
        """Seconds that these still need, as far as is known, at the present pace."""
        return self.pace * sum(job.remaining for job in self._jobs)

    def _check_room(self, needed: float, seconds: float) -> None:
        """Raise DeadlineExceeded when the work alone takes too long, Overloaded when it does because of others."""
        pace = self.pace if self._jobs else 1.0  # nobody else's work says how it will be
        alone = pace * needed
        if alone > seconds:
            raise _too_long(alone, seconds)
        if self.depth >= self._max_jobs:
            soonest = pace * min(job.remaining for job in self._jobs)
            message = f"{self.depth} requests are being worked on already; try again shortly"
            raise Overloaded(message, retry_after=max(1, math.ceil(soonest)))
        expected = alone + pace * sum(job.remaining for job in self._jobs if job.remaining <= needed)
        if expected > seconds:
            message = (
                f"after what waits already, this would take about {expected:.3g} s,"
                f" and {seconds:.3g} s are left until its deadline"
            )
            raise Overloaded(message, retry_after=max(1, math.ceil(expected - seconds)))

    def _expected(self, said: Said) -> float:
        """Seconds of work left, of which a crew does its share at once."""
        return seconds_left(said) / (self._crew.size if self._crew and isinstance(said, Offer) else 1)

    async def _queue(self, steps: Steps[T], said: Said, seconds: float, gone: Gone | None) -> T:
        loop = asyncio.get_running_loop()
        deadline = monotonic() + seconds
        job = Job(steps, said, deadline, loop, loop.create_future(), contextvars.copy_context())
        hangup = asyncio.ensure_future(gone() if gone else loop.create_future())
        self._jobs.add(job)
        self._wait_for_turn(job)
        try:
            done, _ = await asyncio.wait({job.answer, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            job.abandoned = True
            self._jobs.discard(job)
            hangup.cancel()
            if job.errand:
                job.errand.cancel()
        if job.answer in done:
            return job.answer.result()  # type: ignore[no-any-return]
        if hangup in done:
            raise CallerGone("the caller hung up before the answer was ready")
        message = f"the answer was not ready within the {seconds:.3g} s that were left until its deadline"
        raise DeadlineExceeded(message, seconds=seconds)

    def close(self) -> None:
        """Let the thread finish the step it is at, and end it."""
        self._turns.put((-math.inf, next(self._order), None))
        self._thread.join()

    def _wait_for_turn(self, job: Job) -> None:
        """What has least left comes first; of equals, what waits longest."""
        self._turns.put((job.remaining, next(self._order), job))

    def _work(self) -> None:
        while (job := self._turns.get()[2]) is not None:
            if job.abandoned:
                job.steps.close()
            elif self._crew and isinstance(job.said, Offer) and job.said.results is None:
                job.loop.call_soon_threadsafe(self._send, job, job.said, self._crew)
            elif self._step(job):
                self._wait_for_turn(job)

    def _send(self, job: Job, offer: Offer, crew: Crew) -> None:
        """Have others do it; it waits for its turn again when they have, or when nobody waits for it any more."""
        if not job.abandoned:
            job.errand = job.loop.create_task(_take(offer, crew))
            job.errand.add_done_callback(lambda _: self._wait_for_turn(job))
        else:
            self._wait_for_turn(job)

    def _step(self, job: Job) -> bool:
        """Take one step; whether there are more."""
        started = monotonic()
        self.steps_taken += 1
        try:
            said = job.context.run(_advance, job.steps, job.said)
            left = seconds_left(said)
            expected = self.pace * self._expected(said)
            if left > job.remaining and monotonic() + expected > job.deadline:
                job.steps.close()
                raise _too_long(expected, job.deadline - monotonic())
        except StopIteration as done:
            _deliver(job, done.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's, and the thread lives on
            _deliver(job, None, error)
        else:
            self._note_pace(job.remaining - left, monotonic() - started)
            job.said = said
            return True
        return False

    def _note_pace(self, foretold: float, taken: float) -> None:
        """What a step should have taken, and took."""
        if foretold > MEASURABLE:
            self.pace += PACE_WEIGHT * (min(taken / foretold, SLOWEST) - self.pace)


async def _take(offer: Offer, crew: Crew) -> None:
    """Whatever goes wrong, the work is done here then."""
    pieces = offer.cut()
    offer.results = [None] * len(pieces)
    try:
        offer.results = await crew.do(pieces)
    except Exception as error:
        log.error("pieces of a request could not be done elsewhere", pieces=len(pieces), exc_info=error)


def _advance(steps: Steps[Any], said: Said) -> Said:
    """What they yield next; a question is answered first, alone."""
    if isinstance(said, Offer):
        return steps.send(said.results)
    return steps.send(said.alone() if isinstance(said, Question) else None)


def _too_long(needed: float, seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer would take about {needed:.3g} s, and {max(0.0, seconds):.3g} s are left until its deadline;"
        " ask for fewer rows or samples, or allow more time",
        seconds=seconds,
    )


def _deliver(job: Job, result: object, error: BaseException | None) -> None:
    def settle() -> None:
        if job.abandoned or job.answer.done():
            return  # an error that nobody hears of is nobody's
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)
