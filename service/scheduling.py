"""Short work is done at once, long work in turns by a thread of its own, so that it keeps nobody else waiting.

Work comes as a generator of short steps (`service.engine.Steps`) that tells how long its rest will take.
The thread takes one step of one piece of work, then one of the next, round and round: a heavy request
slows a light one by a step, not by its whole length. Admission is bounded, each piece has a deadline, and
work that nobody waits for any more is dropped.
"""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from service.errors import CallerGone, DeadlineExceeded, Overloaded

T = TypeVar("T")


@dataclass(slots=True)
class Job:
    """A piece of work and the caller who waits for it."""

    steps: Generator[float, None, Any]
    deadline: float
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    abandoned: bool = False


class Scheduler:
    """One worker thread and the work that it takes turns on. Use it within one event loop."""

    def __init__(self, max_jobs: int, inline_seconds: float) -> None:
        self._max_jobs = max_jobs
        self._inline_seconds = inline_seconds
        self.depth = 0
        """How many pieces of work are waiting or being worked on."""
        self._turns: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="dropserve-worker", daemon=True)
        self._thread.start()

    async def run(self, steps: Generator[float, None, T], seconds: float, gone: Callable[[], Awaitable[None]]) -> T:
        """The work's result, within so many seconds, unless `gone` returns first: nobody waits any more.

        Raises Overloaded at once, DeadlineExceeded in time, CallerGone, and what the work raises.
        """
        try:
            while next(steps) <= self._inline_seconds:
                pass
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        return await self._queue(steps, seconds, gone)

    async def _queue(self, steps: Generator[float, None, T], seconds: float, gone: Callable[[], Awaitable[None]]) -> T:
        if self.depth >= self._max_jobs:
            steps.close()
            raise Overloaded(f"{self.depth} requests are being worked on already; try again shortly")
        loop = asyncio.get_running_loop()
        job = Job(steps, monotonic() + seconds, loop, loop.create_future())
        hangup = asyncio.ensure_future(gone())
        self.depth += 1
        self._turns.put(job)
        try:
            done, _ = await asyncio.wait({job.answer, hangup}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            job.abandoned = True
            self.depth -= 1
            hangup.cancel()
        if job.answer in done:
            return job.answer.result()  # type: ignore[no-any-return]
        if hangup in done:
            raise CallerGone("the caller hung up before the answer was ready")
        raise DeadlineExceeded(f"the answer took longer than the {seconds:g} s allowed", seconds=seconds)

    def close(self) -> None:
        """Let the thread finish the step it is at, and end it."""
        self._turns.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._turns.get()) is not None:
            if job.abandoned or monotonic() > job.deadline:
                job.steps.close()
            elif self._step(job):
                self._turns.put(job)

    def _step(self, job: Job) -> bool:
        """Take one step; whether there are more."""
        try:
            next(job.steps)
        except StopIteration as done:
            _deliver(job, done.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's, and the thread lives on
            _deliver(job, None, error)
        else:
            return True
        return False


def _deliver(job: Job, result: object, error: BaseException | None) -> None:
    def settle() -> None:
        if job.answer.done():
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)
