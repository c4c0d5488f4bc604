"""The scheduler, with work that goes on when the test says so: order is asserted, never time."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from time import sleep
from typing import Any

import pytest

from service.engine.job import Estimate, Job
from service.engine.stages import Stopwatch
from service.errors import CallerGone, DeadlineExceeded, InvalidInput, NotReady, Overloaded
from service.work.baton import Baton, Dropped, Place
from service.work.scheduling import Gone, Scheduler
from tests.conftest import PATIENCE

Work = Callable[[Job], str]

INLINE, LONG = 0.001, 1.0
"""What the work expects to take; `INLINE_SECONDS` lies between."""
INLINE_SECONDS = 0.01


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(max_jobs=2, inline_seconds=INLINE_SECONDS)
    yield scheduler
    scheduler.close()


async def run(
    scheduler: Scheduler, work: Work, expected: float = LONG, seconds: float = PATIENCE, gone: Gone | None = None
) -> str:
    return await scheduler.run(work, Estimate(expected), seconds, Stopwatch(), gone)


def work(expected: float, threads: list[str], parts: int = 3) -> Work:
    """Notes which thread does each part."""

    def do(job: Job) -> str:
        for _ in range(parts):
            job.pause(expected)
            threads.append(threading.current_thread().name)
        return "done"

    return do


def held(gate: threading.Event) -> Work:
    """Long work that cannot end before the gate is opened."""

    def do(job: Job) -> str:
        assert gate.wait(PATIENCE)
        job.pause(LONG)
        return "done"

    return do


class Endless:
    """Work that goes on until it is dropped."""

    def __init__(self, left: float) -> None:
        self._left = left
        self.began = threading.Event()
        self.dropped = threading.Event()

    def __call__(self, job: Job) -> str:
        self.began.set()
        try:
            while True:
                job.pause(self._left)
        except Dropped:
            self.dropped.set()
            raise


def fails(error: Exception, expected: float) -> Work:
    def do(job: Job) -> str:
        job.pause(expected)
        raise error

    return do


def is_worker(thread: str) -> bool:
    return thread.startswith("dropserve-worker")


def test_short_work_is_done_at_once(scheduler: Scheduler) -> None:
    threads: list[str] = []
    assert asyncio.run(run(scheduler, work(INLINE, threads), INLINE)) == "done"
    assert set(threads) == {threading.current_thread().name}


def test_long_work_goes_to_a_thread(scheduler: Scheduler) -> None:
    threads: list[str] = []
    assert asyncio.run(run(scheduler, work(LONG, threads))) == "done"
    assert len(set(threads)) == 1
    assert is_worker(threads[0])


def test_work_that_may_take_long_goes_to_a_thread(scheduler: Scheduler) -> None:
    threads: list[str] = []
    estimate = Estimate(INLINE, further=LONG)
    assert asyncio.run(scheduler.run(work(INLINE, threads), estimate, PATIENCE, Stopwatch())) == "done"
    assert all(map(is_worker, threads))


def test_short_work_does_not_wait_for_long_work(scheduler: Scheduler) -> None:
    async def both() -> None:
        gate = threading.Event()
        long = asyncio.create_task(run(scheduler, held(gate)))
        await asyncio.sleep(0)
        assert await run(scheduler, work(INLINE, []), INLINE) == "done"
        assert not long.done()
        gate.set()
        assert await long == "done"

    asyncio.run(both())


def test_one_job_works_at_a_time(scheduler: Scheduler) -> None:
    working: list[str] = []

    def alone(name: str) -> Work:
        def do(job: Job) -> str:
            for _ in range(50):
                working.append(name)
                assert working == [name]
                working.remove(name)
                job.pause(LONG)
            return "done"

        return do

    async def both() -> Sequence[str]:
        return await asyncio.gather(run(scheduler, alone("one")), run(scheduler, alone("other")))

    assert list(asyncio.run(both())) == ["done", "done"]


def test_long_work_takes_turns(scheduler: Scheduler) -> None:
    turns: list[str] = []

    def parts(name: str, count: int, gate: threading.Event) -> Work:
        def do(job: Job) -> str:
            assert gate.wait(PATIENCE)
            for _ in range(count):
                turns.append(name)
                job.pause(LONG)
            return name

        return do

    async def both() -> None:
        gate = threading.Event()
        heavy = asyncio.create_task(run(scheduler, parts("heavy", 10, gate)))
        light = asyncio.create_task(run(scheduler, parts("light", 2, gate)))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(heavy, light)

    asyncio.run(both())
    assert turns[:4] == ["heavy", "light", "heavy", "light"]
    assert turns[4:] == ["heavy"] * 8


def test_too_much_work_is_refused_at_once_and_the_rest_goes_on(scheduler: Scheduler) -> None:
    async def crowd() -> None:
        gate, refused = threading.Event(), Endless(LONG)
        admitted = [asyncio.create_task(run(scheduler, held(gate))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="the queue is full with 2 requests"):
            await run(scheduler, refused)
        assert not refused.began.is_set()
        gate.set()
        assert await asyncio.gather(*admitted) == ["done", "done"]
        assert await run(scheduler, held(gate)) == "done"  # there is room again

    asyncio.run(crowd())


def test_a_passed_deadline_is_reported_and_the_work_dropped(scheduler: Scheduler) -> None:
    endless = Endless(2 * INLINE_SECONDS)
    with pytest.raises(DeadlineExceeded, match=r"not ready within the 0\.05 s") as refusal:
        asyncio.run(run(scheduler, endless, 2 * INLINE_SECONDS, seconds=0.05))
    assert refusal.value.details == {"seconds": 0.05}
    assert endless.dropped.wait(PATIENCE)


def test_work_of_a_cancelled_caller_is_dropped(scheduler: Scheduler) -> None:
    endless = Endless(LONG)

    async def leave() -> None:
        caller = asyncio.create_task(run(scheduler, endless, seconds=100 * PATIENCE))
        assert await asyncio.to_thread(endless.began.wait, PATIENCE)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(leave())
    assert endless.dropped.wait(PATIENCE)


def test_work_of_callers_who_left_leaves_its_threads_to_others(scheduler: Scheduler) -> None:
    """Also work that waits for the baton when its caller leaves, and so is blocked."""

    async def leave() -> str:
        gate = threading.Event()
        holding = asyncio.create_task(run(scheduler, held(gate)))
        for _ in range(10):
            with pytest.raises(CallerGone):
                await run(scheduler, Endless(LONG), gone=lambda: asyncio.sleep(0))
        waiting = asyncio.create_task(run(scheduler, work(LONG / 2, []), LONG / 2))
        await asyncio.sleep(0)
        gate.set()
        await holding
        return await waiting

    assert asyncio.run(leave()) == "done"


def test_a_place_dropped_while_it_holds_the_baton_never_waits_for_it_again() -> None:
    baton, place, other = Baton(), Place(), Place()
    baton.enter(place, LONG)
    place.wait()
    baton.drop(place)
    baton.leave(place)
    baton.enter(other, LONG)
    other.wait()
    baton.enter(place, 0.0)
    with pytest.raises(Dropped):
        place.wait()


@pytest.mark.parametrize("expected", [INLINE, LONG])
def test_errors_reach_the_caller_and_the_threads_live_on(scheduler: Scheduler, expected: float) -> None:
    with pytest.raises(InvalidInput, match="samples: no"):
        asyncio.run(run(scheduler, fails(InvalidInput("samples: no"), expected), expected))
    assert asyncio.run(run(scheduler, work(LONG, []))) == "done"


def test_an_error_of_one_is_not_that_of_another(scheduler: Scheduler) -> None:
    async def both() -> Sequence[Any]:
        broken = run(scheduler, fails(RuntimeError("broken"), LONG))
        return await asyncio.gather(broken, run(scheduler, work(LONG, [])), return_exceptions=True)

    error, answer = asyncio.run(both())
    assert isinstance(error, RuntimeError)
    assert answer == "done"


def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    scheduler = Scheduler(max_jobs=1, inline_seconds=0)
    asyncio.run(run(scheduler, work(LONG, [])))
    scheduler.close()
    assert not any(is_worker(thread.name) for thread in set(threading.enumerate()) - before)


class Unreliable:
    """Remote workers that do none of the pieces, cancel them, or fail."""

    size = 2

    def __init__(self) -> None:
        self._calls = 0

    async def do(self, pieces: Sequence[Any]) -> Sequence[Any]:
        self._calls += 1
        await asyncio.sleep(0)
        if self._calls % 50 == 0:
            raise ConnectionError("lost")
        if self._calls % 2:
            raise asyncio.CancelledError
        return [None] * len(pieces)


def test_of_many_jobs_none_is_lost_whatever_ends_the_others() -> None:
    """A third fails, a third is cancelled by its caller, a third is done; all of them distribute pieces."""
    working: list[int] = []

    def part(number: int) -> Work:
        def do(job: Job) -> str:
            for left in (3.0, 2.0, 1.0):
                working.append(number)
                assert working == [number]
                working.remove(number)
                job.pause(left)
                assert len(job.distribute(left, lambda: [1, 2]) or ()) == 2
            if number % 3 == 0:
                raise InvalidInput("no")
            return "done"

        return do

    async def all_at_once() -> list[Any]:
        scheduler = Scheduler(max_jobs=150, inline_seconds=0, remote_workers=Unreliable())
        jobs = [asyncio.create_task(run(scheduler, part(number), seconds=100 * PATIENCE)) for number in range(150)]
        await asyncio.sleep(0)
        for job in jobs[1::3]:
            job.cancel()
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert scheduler.depth == 0
        await asyncio.to_thread(scheduler.close)
        return answers

    answers = asyncio.run(all_at_once())
    assert all(isinstance(answer, InvalidInput) for answer in answers[::3])
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[1::3])
    assert answers[2::3] == ["done"] * 50


def test_closing_ends_work_at_its_next_pause() -> None:
    async def close() -> None:
        scheduler = Scheduler(max_jobs=2, inline_seconds=0)
        jobs = [asyncio.create_task(run(scheduler, Endless(LONG))) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(scheduler.close)
        for job in jobs:
            with pytest.raises(NotReady, match="stopped before the answer was ready"):
                await job

    asyncio.run(close())


def test_what_has_least_left_comes_first(scheduler: Scheduler) -> None:
    """So that of equals one after the other is done, not all of them at the last moment."""
    gate, order = threading.Event(), []

    def counted(name: str, parts: int) -> Work:
        def do(job: Job) -> str:
            gate.wait(PATIENCE)
            for left in reversed(range(parts)):
                order.append(name)
                job.pause(float(left))
            return "done"

        return do

    async def all_at_once() -> None:
        one, other = (asyncio.create_task(run(scheduler, counted(name, 3), 10.0)) for name in ("one", "other"))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(one, other)

    asyncio.run(all_at_once())
    assert order == ["one"] * 3 + ["other"] * 3


def test_the_load_factor_is_that_of_the_steps_taken(scheduler: Scheduler) -> None:
    """Steps that take four times as long as estimated: later work is expected to, while other jobs are there."""

    def slow(job: Job) -> str:
        for left in reversed(range(100)):
            sleep(0.002)
            job.pause(1.0 + left * 0.0005)
        return "done"

    asyncio.run(run(scheduler, slow, 1.05))
    assert scheduler.load_factor > 2
