"""Short work is done at once; long work in a thread of its own, so that it keeps no other work waiting.

Of the threads one works at a time: at each pause the baton (`service.work.baton`) goes to the job that has least left.
A heavy request slows a light one by a run of its graph, not by its whole length, and of many heavy ones some are done
in time, where equal turns would have all of them done too late. Admission is bounded, each job has a deadline, work
that would miss it is refused before it begins, and work whose result is not wanted any more is dropped.
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
"""A plain function, which pauses by its job."""
Gone = Callable[[], Awaitable[None]]
"""Returns when the caller waits for the answer no more."""


LOAD_WEIGHT = 0.05
"""Of each step in the load factor; so it follows the machine's load within some dozens of steps."""
MEASURABLE = 1e-4
"""Seconds of progress below which a step says nothing of the load."""
MOST_LOAD = 20.0


class RemoteWorkers(Protocol):
    """Processes elsewhere that do pieces of large requests."""

    size: int
    """How many can be counted on."""

    async def do(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """Return the result of each piece; None for one that was not done, and is then done here."""


class TurnsOutLong(Exception):
    """Ends work on the event loop that takes longer than was estimated."""

    def __init__(self, seconds_left: float) -> None:
        super().__init__(seconds_left)
        self.seconds_left = seconds_left


class InlineJob(Job):
    """Work on the event loop, which a pause ends where more is left than the loop may be kept."""

    __slots__ = ("_seconds",)

    def __init__(self, watch: Stopwatch, seconds: float) -> None:
        super().__init__(watch)
        self._seconds = seconds

    def pause(self, seconds_left: float) -> None:
        """Raise TurnsOutLong where too much is left."""
        if seconds_left > self._seconds:
            raise TurnsOutLong(seconds_left)
        super().pause(seconds_left)


class WorkerJob(Job):
    """Work in a thread, with others; the request's context is its own, so that what it logs bears the request's id."""

    __slots__ = ("_scheduler", "answer", "deadline", "loop", "place", "remaining", "remote_task", "resumed")

    def __init__(self, scheduler: "Scheduler", watch: Stopwatch, estimate: Estimate, deadline: float) -> None:
        super().__init__(watch)
        self._scheduler = scheduler
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        self.deadline = deadline
        self.remaining = estimate.seconds
        """Seconds of work left, as far as is known."""
        self.resumed = 0.0
        """When it last went on."""
        self.remote_task: Future[Sequence[Any]] | None = None
        """While remote workers do pieces of it."""
        self.place = Place()

    def pause(self, seconds_left: float) -> None:
        """Let another job go first that has less left. Raises Dropped, or DeadlineExceeded where the estimate has grown
        beyond the deadline.
        """
        self._scheduler.pause(self, Estimate(seconds_left))

    def distribute(self, seconds_left: float, cut: Callable[[], Sequence[Any]]) -> Sequence[Any] | None:
        """Pause, then have remote workers do the pieces, where there are any; other jobs go on meanwhile."""
        return self._scheduler.distribute(self, seconds_left, cut)


class Scheduler:
    """The threads for long work, and the jobs in them. Use it within one event loop."""

    def __init__(self, max_jobs: int, inline_seconds: float, remote_workers: RemoteWorkers | None = None) -> None:
        self._max_jobs = max_jobs
        self._remote_workers = remote_workers
        self.inline_seconds = inline_seconds
        self._jobs: set[WorkerJob] = set()
        self._baton = Baton()
        self._threads = ThreadPoolExecutor(max_jobs, thread_name_prefix="dropserve-worker")
        self.steps_taken = 0
        """Parts of jobs between two pauses, begun since the service began."""
        self.load_factor = 1.0
        """How many times as long as estimated the steps take at present, because the machine has other work too."""

    async def run(
        self, work: Work[T], estimate: Estimate, seconds: float, watch: Stopwatch, gone: Gone | None = None
    ) -> T:
        """Return the work's result within so many seconds, unless `gone` returns first.

        Raises Overloaded or DeadlineExceeded, at once where it can be foreseen; CallerGone; what the work raises.
        """
        check_deadline(seconds)
        if estimate.seconds <= self.inline_seconds:
            try:
                return work(InlineJob(watch, self.inline_seconds))
            except TurnsOutLong as long:
                estimate = Estimate(long.seconds_left)
        self._check_room(self._expected(estimate), seconds)
        return await self._run_in_thread(work, estimate, seconds, watch, gone)

    @property
    def depth(self) -> int:
        """How many jobs are waiting or being worked on."""
        return len(self._jobs)

    @property
    def remaining(self) -> float:
        """Seconds that these still need, as far as is known, at the present load."""
        return self.load_factor * sum(job.remaining for job in self._jobs)

    def close(self) -> None:
        """Drop all jobs, and end the threads, each after the run of a graph that it is at."""
        for job in list(self._jobs):
            self._drop(job)
        self._threads.shutdown()

    def pause(self, job: WorkerJob, left: Estimate) -> None:
        """Let another job go first that has less left; for the job's thread."""
        now, expected = monotonic(), self.load_factor * self._expected(left)
        if left.seconds > job.remaining and now + expected > job.deadline:
            raise _too_long(expected, job.deadline - now)
        self._note_load(job.remaining - left.seconds, now - job.resumed)
        job.remaining = left.seconds
        self._baton.pause(job.place, left.seconds)
        self._go_on(job)

    def distribute(self, job: WorkerJob, seconds_left: float, cut: Callable[[], Sequence[Any]]) -> Sequence[Any] | None:
        """Pause, then have remote workers do the pieces, where there are any; for the job's thread."""
        self.pause(job, Estimate(seconds_left, distributable=True))
        if self._remote_workers is None:
            return None
        pieces = cut()
        job.remote_task = asyncio.run_coroutine_threadsafe(_do_remotely(pieces, self._remote_workers), job.loop)
        self._baton.leave(job.place)
        try:
            if job.place.dropped:
                job.remote_task.cancel()
            results = job.remote_task.result()
        except CancelledError:
            raise Dropped from None
        job.remote_task, job.remaining = None, 0.0
        self._baton.enter(job.place, 0.0)
        job.place.wait()
        self._go_on(job)
        return results

    def _go_on(self, job: WorkerJob) -> None:
        self.steps_taken += 1
        job.resumed = monotonic()
        job.watch.lap("queue")

    def _check_room(self, needed: float, seconds: float) -> None:
        """Raise DeadlineExceeded when the work alone takes too long, Overloaded when it does because of other jobs."""
        load = self.load_factor if self._jobs else 1.0  # without other jobs, it is not known how it will be
        alone = load * needed
        if alone > seconds:
            raise _too_long(alone, seconds)
        if self.depth >= self._max_jobs:
            soonest = load * min(job.remaining for job in self._jobs)
            message = f"{self.depth} requests are being worked on already; try again shortly"
            raise Overloaded(message, retry_after=max(1, math.ceil(soonest)))
        expected = alone + load * sum(job.remaining for job in self._jobs if job.remaining <= needed)
        if expected > seconds:
            message = (
                f"after what waits already, this would take about {expected:.3g} s,"
                f" and {seconds:.3g} s are left until its deadline"
            )
            raise Overloaded(message, retry_after=max(1, math.ceil(expected - seconds)))

    def _expected(self, estimate: Estimate) -> float:
        """Seconds of work left, of which remote workers do their share at once."""
        return estimate.seconds / (self._remote_workers.size if self._remote_workers and estimate.distributable else 1)

    async def _run_in_thread(
        self, work: Work[T], estimate: Estimate, seconds: float, watch: Stopwatch, gone: Gone | None
    ) -> T:
        job = WorkerJob(self, watch, estimate, monotonic() + seconds)
        hangup = asyncio.ensure_future(gone() if gone else job.loop.create_future())
        self._jobs.add(job)
        self._baton.enter(job.place, estimate.seconds)
        self._threads.submit(contextvars.copy_context().run, self._work, job, work)
        try:
            done, _ = await asyncio.wait({job.answer, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._jobs.discard(job)
            self._drop(job)
            job.answer.cancel()  # unless it is done
            hangup.cancel()
        if job.answer in done:
            return job.answer.result()  # type: ignore[no-any-return]
        if hangup in done:
            raise CallerGone("the caller hung up before the answer was ready")
        message = f"the answer was not ready within the {seconds:.3g} s that were left until its deadline"
        raise DeadlineExceeded(message, seconds=seconds)

    def _drop(self, job: WorkerJob) -> None:
        self._baton.drop(job.place)
        if job.remote_task:
            job.remote_task.cancel()

    def _work(self, job: WorkerJob, work: Work[Any]) -> None:
        """Do the work, once it is its turn, and deliver the result; in the job's thread."""
        result: Any = None
        error: BaseException | None = None
        try:
            job.place.wait()
            self._go_on(job)
            result = work(job)
        except Dropped:
            error = NotReady("the service stopped before the answer was ready")
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the caller's, and the thread lives on
            error = raised
        finally:
            self._baton.leave(job.place)
        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(_settle, job.answer, result, error)

    def _note_load(self, estimated: float, taken: float) -> None:
        """Note what a step should have taken, and took."""
        if estimated > MEASURABLE:
            self.load_factor += LOAD_WEIGHT * (min(taken / estimated, MOST_LOAD) - self.load_factor)


def check_deadline(seconds: float) -> None:
    """Raise DeadlineExceeded where no time is left."""
    if seconds <= 0:
        raise DeadlineExceeded("the deadline passed before the request was read", seconds=seconds)


async def _do_remotely(pieces: Sequence[Any], workers: RemoteWorkers) -> Sequence[Any]:
    """Return the results; whatever goes wrong, the pieces are done here then."""
    try:
        return await workers.do(pieces)
    except Exception as error:
        log.error("pieces of a request could not be done elsewhere", pieces=len(pieces), exc_info=error)
        return [None] * len(pieces)


def _settle(answer: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if answer.done():
        return  # it is not waited for any more
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _too_long(needed: float, seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer would take about {needed:.3g} s, and {max(0.0, seconds):.3g} s are left until its deadline;"
        " ask for fewer rows or samples, or allow more time",
        seconds=seconds,
    )
