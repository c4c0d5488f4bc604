"""Run short work at once, and long work in a thread of its own, so that it does not delay other work.

One thread works at a time: at each pause the baton (`service.work.baton`) goes to the job with the least work left. So
a heavy request delays a light one only by one run of its graph, and of many heavy requests some are done in time, where
equal shares would finish all of them too late. The number of jobs is limited, each has a deadline, work that would miss
it is refused before it begins, and work whose result is no longer needed is dropped.
"""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog

from service.engine.job import Estimate, Job
from service.engine.stages import Stopwatch
from service.errors import CallerGone, DeadlineExceeded, NotReady, Overloaded
from service.work.baton import Baton, Dropped, Place

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[Job], T]
"""A function that calls its job's `pause`."""
Gone = Callable[[], Awaitable[None]]
"""A coroutine function that returns once the caller has disconnected."""


LOAD_WEIGHT = 0.05
"""The weight of a step in the load factor, which follows the machine's load within some dozens of steps."""
MEASURABLE = 1e-4
"""The shortest step, in seconds, that counts for the load factor."""
MOST_LOAD = 20.0


class RemoteWorkers(Protocol):
    """The interface of remote processes that do pieces of large requests."""

    size: int
    """The number of workers to expect."""

    async def do(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """Return the result of each piece, or None for a failed one, which is then done locally."""


class WorkerJob(Job):
    """Work in a thread, in turns with other jobs, and in the context of its request."""

    __slots__ = ("_scheduler", "answer", "deadline", "loop", "place", "remaining", "remote_task", "resumed")

    def __init__(self, scheduler: "Scheduler", watch: Stopwatch, estimate: Estimate, deadline: float) -> None:
        """Begin a job; `deadline` is in the time of `monotonic`."""
        super().__init__(watch)
        self._scheduler = scheduler
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        self.deadline = deadline
        self.remaining = estimate.seconds
        """Estimated seconds of work left."""
        self.resumed = 0.0
        """The time at which the job last resumed."""
        self.remote_task: Future[Sequence[Any]] | None = None
        """The latest pieces at remote workers."""
        self.place = Place()

    def pause(self, seconds_left: float) -> None:
        """Let shorter jobs run first. Raises Dropped, or DeadlineExceeded for an estimate beyond the deadline."""
        self._scheduler.pause(self, Estimate(seconds_left))

    def distribute(self, seconds_left: float, cut: Callable[[], Sequence[Any]]) -> Sequence[Any] | None:
        """Pause, then let remote workers do the pieces, while other jobs run here."""
        return self._scheduler.distribute(self, seconds_left, cut)


class Scheduler:
    """The jobs of one event loop, and their threads."""

    def __init__(self, max_jobs: int, inline_seconds: float, remote_workers: RemoteWorkers | None = None) -> None:
        """Run at most `max_jobs` long jobs; work of up to `inline_seconds` runs on the event loop."""
        self._max_jobs = max_jobs
        self._remote_workers = remote_workers
        self.inline_seconds = inline_seconds
        self._jobs: set[WorkerJob] = set()
        self._baton = Baton()
        self._threads = ThreadPoolExecutor(max_jobs, thread_name_prefix="dropserve-worker")
        self.steps_taken = 0
        """Number of steps begun, which are parts of jobs between two pauses."""
        self.load_factor = 1.0
        """The current ratio of measured to estimated time of steps, which grows with other load on the machine."""

    async def run(
        self, work: Work[T], estimate: Estimate, seconds: float, watch: Stopwatch, gone: Gone | None = None
    ) -> T:
        """Return the work's result within `seconds`, unless `gone` returns first.

        Raises Overloaded or DeadlineExceeded, at once if the estimate exceeds the time; CallerGone; and the errors of
        the work.
        """
        check_deadline(seconds)
        if estimate.longest <= self.inline_seconds:
            return work(Job(watch))
        self._check_room(self._expected(estimate), seconds)
        return await self._run_in_thread(work, estimate, seconds, watch, gone)

    @property
    def depth(self) -> int:
        """The number of waiting and running jobs."""
        return len(self._jobs)

    @property
    def remaining(self) -> float:
        """Estimated seconds of work left for these jobs, at the current load."""
        return self.load_factor * sum(job.remaining for job in self._jobs)

    def close(self) -> None:
        """Drop all jobs, and end the threads after their current run of a graph."""
        for job in list(self._jobs):
            self._drop(job)
        self._threads.shutdown()

    def pause(self, job: WorkerJob, left: Estimate) -> None:
        """Let shorter jobs run first; called by the job's thread."""
        now, expected = monotonic(), self.load_factor * self._expected(left)
        if left.seconds > job.remaining and now + expected > job.deadline:
            raise _too_long(expected, job.deadline - now)
        self._note_load(job.remaining - left.seconds, now - job.resumed)
        job.remaining = left.seconds
        self._baton.pause(job.place, left.seconds)
        self._go_on(job)

    def distribute(self, job: WorkerJob, seconds_left: float, cut: Callable[[], Sequence[Any]]) -> Sequence[Any] | None:
        """Pause, then let remote workers, if any, do the pieces; called by the job's thread."""
        self.pause(job, Estimate(seconds_left, distributable=True))
        if self._remote_workers is None:
            return None
        pieces = cut()
        job.remote_task = asyncio.run_coroutine_threadsafe(_do_remotely(pieces, self._remote_workers), job.loop)
        self._baton.leave(job.place)
        if job.place.dropped:
            job.remote_task.cancel()
        try:
            results = job.remote_task.result()
        except CancelledError:  # of a dropped job, or by the workers
            results = [None] * len(pieces)
        job.remaining = 0.0
        self._baton.enter(job.place, 0.0)
        job.place.wait()
        self._go_on(job)
        return results

    def _go_on(self, job: WorkerJob) -> None:
        self.steps_taken += 1
        job.resumed = monotonic()
        job.watch.lap("queue")

    def _check_room(self, needed: float, seconds: float) -> None:
        """Raise DeadlineExceeded if the work alone takes too long, Overloaded if it does because of other jobs."""
        load = self.load_factor if self._jobs else 1.0  # without other jobs, the load factor may be outdated
        alone = load * needed
        if alone > seconds:
            raise _too_long(alone, seconds)
        if self.depth >= self._max_jobs:
            soonest = load * min(job.remaining for job in self._jobs)
            message = f"the queue is full with {self.depth} requests; try again shortly"
            raise Overloaded(message, retry_after=max(1, math.ceil(soonest)))
        expected = alone + load * sum(job.remaining for job in self._jobs if job.remaining <= needed)
        if expected > seconds:
            message = (
                f"with the requests in the queue, this would take about {expected:.3g} s,"
                f" but {seconds:.3g} s are left until its deadline"
            )
            raise Overloaded(message, retry_after=max(1, math.ceil(expected - seconds)))

    def _expected(self, estimate: Estimate) -> float:
        """Return the expected seconds, divided among remote workers where the work is distributable."""
        return estimate.seconds / (self._remote_workers.size if self._remote_workers and estimate.distributable else 1)

    async def _run_in_thread(
        self, work: Work[T], estimate: Estimate, seconds: float, watch: Stopwatch, gone: Gone | None
    ) -> T:
        job = WorkerJob(self, watch, estimate, monotonic() + seconds)
        hangup = asyncio.ensure_future(gone() if gone else job.loop.create_future())
        self._jobs.add(job)
        try:
            self._baton.enter(job.place, estimate.seconds)
            self._threads.submit(contextvars.copy_context().run, self._work, job, work)
            done, _ = await asyncio.wait({job.answer, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._jobs.discard(job)
            self._drop(job)
            job.answer.cancel()  # unless it is done
            hangup.cancel()
        if job.answer in done:
            return job.answer.result()  # type: ignore[no-any-return]
        if hangup in done:
            raise CallerGone("the caller disconnected before the answer was ready")
        message = f"the answer was not ready within the {seconds:.3g} s left until its deadline"
        raise DeadlineExceeded(message, seconds=seconds)

    def _drop(self, job: WorkerJob) -> None:
        self._baton.drop(job.place)
        if job.remote_task:
            job.remote_task.cancel()

    def _work(self, job: WorkerJob, work: Work[Any]) -> None:
        """Do the work once it holds the baton, and deliver the result, in the job's thread."""
        result: Any = None
        error: BaseException | None = None
        try:
            job.place.wait()
            self._go_on(job)
            result = work(job)
        except Dropped:
            error = NotReady("the service stopped before the answer was ready")
        except BaseException as raised:  # noqa: BLE001 - raised for the caller, so that the thread lives on
            error = raised
        finally:
            self._baton.leave(job.place)
        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(_settle, job.answer, result, error)

    def _note_load(self, estimated: float, taken: float) -> None:
        """Update the load factor by the estimated and measured seconds of a step."""
        if estimated > MEASURABLE:
            self.load_factor += LOAD_WEIGHT * (min(taken / estimated, MOST_LOAD) - self.load_factor)


def check_deadline(seconds: float) -> None:
    """Raise DeadlineExceeded if no time is left."""
    if seconds <= 0:
        raise DeadlineExceeded("the deadline passed before the request was read", seconds=0.0)


async def _do_remotely(pieces: Sequence[Any], workers: RemoteWorkers) -> Sequence[Any]:
    """Return the results of pieces, or None for each after an error, so that they are done locally."""
    try:
        return await workers.do(pieces)
    except Exception as error:
        log.error("remote workers failed; the pieces are done locally", pieces=len(pieces), exc_info=error)
        return [None] * len(pieces)


def _settle(answer: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if answer.done():
        return  # the answer is no longer awaited
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _too_long(needed: float, seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer would take about {needed:.3g} s, but {max(0.0, seconds):.3g} s are left until its deadline;"
        " send fewer rows or samples, or allow more time",
        seconds=seconds,
    )
