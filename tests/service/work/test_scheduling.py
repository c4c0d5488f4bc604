"""The scheduler, with work that goes on when the test says so: order is asserted, never time."""

import asyncio
import threading
from collections.abc import Generator, Iterator
from time import sleep
from typing import Any

import numpy as np
import pytest

from service.engine.answers import Prediction
from service.engine.costs import Cost
from service.engine.stages import Stopwatch
from service.engine.steps import Answer, Inputs, Question
from service.errors import DeadlineExceeded, InvalidInput, Overloaded
from service.work.scheduling import Scheduler
from tests.conftest import PATIENCE

Work = Generator[float, None, str]

INLINE, LONG = 0.001, 1.0
"""What the work expects to take; `INLINE_SECONDS` lies between."""
INLINE_SECONDS = 0.01


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(max_jobs=2, inline_seconds=INLINE_SECONDS)
    yield scheduler
    scheduler.close()


def work(expected: float, threads: list[str], steps: int = 3) -> Work:
    """Notes which thread takes each step."""
    for _ in range(steps):
        yield expected
        threads.append(threading.current_thread().name)
    return "done"


def held(gate: threading.Event) -> Work:
    """Long work that cannot end before the gate is opened."""
    yield LONG
    assert gate.wait(PATIENCE)
    yield LONG
    return "done"


def test_short_work_is_done_at_once(scheduler: Scheduler) -> None:
    threads: list[str] = []
    assert asyncio.run(scheduler.run(work(INLINE, threads), PATIENCE)) == "done"
    assert set(threads) == {threading.current_thread().name}


def test_long_work_goes_to_the_thread(scheduler: Scheduler) -> None:
    threads: list[str] = []
    assert asyncio.run(scheduler.run(work(LONG, threads), PATIENCE)) == "done"
    assert set(threads) == {"dropserve-worker"}


def test_work_that_turns_out_long_goes_on_in_the_thread(scheduler: Scheduler) -> None:
    threads: list[str] = []

    def turns_out_long() -> Work:
        yield INLINE
        threads.append(threading.current_thread().name)
        return (yield from work(LONG, threads, steps=1))

    assert asyncio.run(scheduler.run(turns_out_long(), PATIENCE)) == "done"
    assert threads == [threading.current_thread().name, "dropserve-worker"]


def asks(expected: float, threads: list[str], error: Exception | None = None) -> Generator[float | Question, Any, str]:
    """Long work that then asks a question."""

    def ask(_: Inputs, __: Stopwatch) -> Answer:
        threads.append(threading.current_thread().name)
        if error:
            raise error
        return Prediction(np.ones((1, 1)))

    yield expected
    rows = {"input": np.ones((1, 1), dtype=np.float32)}
    answer: Prediction = yield Question("kind", rows, ask, Stopwatch(), Cost(each=expected))
    return str(answer.values.item())


@pytest.mark.parametrize(("expected", "thread"), [(INLINE, "MainThread"), (LONG, "dropserve-worker")])
def test_a_question_is_answered_wherever_the_work_has_got_to(
    scheduler: Scheduler, expected: float, thread: str
) -> None:
    threads: list[str] = []
    assert asyncio.run(scheduler.run(asks(expected, threads), PATIENCE)) == "1.0"
    assert threads == [thread]
    with pytest.raises(InvalidInput, match="odd"):
        asyncio.run(scheduler.run(asks(expected, threads, InvalidInput("odd")), PATIENCE))
    assert asyncio.run(scheduler.run(work(LONG, []), PATIENCE)) == "done"


def test_short_work_does_not_wait_for_long_work(scheduler: Scheduler) -> None:
    async def both() -> None:
        gate = threading.Event()
        long = asyncio.create_task(scheduler.run(held(gate), PATIENCE))
        await asyncio.sleep(0)
        assert await scheduler.run(work(INLINE, []), PATIENCE) == "done"
        assert not long.done()
        gate.set()
        assert await long == "done"

    asyncio.run(both())


def test_long_work_takes_turns(scheduler: Scheduler) -> None:
    turns: list[str] = []

    def steps(name: str, count: int, gate: threading.Event) -> Work:
        yield LONG
        assert gate.wait(PATIENCE)
        for _ in range(count):
            turns.append(name)
            yield LONG
        return name

    async def both() -> None:
        gate = threading.Event()
        heavy = asyncio.create_task(scheduler.run(steps("heavy", 10, gate), PATIENCE))
        light = asyncio.create_task(scheduler.run(steps("light", 2, gate), PATIENCE))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(heavy, light)

    asyncio.run(both())
    assert turns[:4] == ["heavy", "light", "heavy", "light"]
    assert turns[4:] == ["heavy"] * 8


def test_too_much_work_is_refused_at_once_and_the_rest_goes_on(scheduler: Scheduler) -> None:
    async def crowd() -> None:
        gate = threading.Event()
        admitted = [asyncio.create_task(scheduler.run(held(gate), PATIENCE)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = held(gate)
        with pytest.raises(Overloaded, match="2 requests are being worked on"):
            await scheduler.run(refused, PATIENCE)
        with pytest.raises(StopIteration):
            next(refused)  # it was closed
        gate.set()
        assert await asyncio.gather(*admitted) == ["done", "done"]
        assert await scheduler.run(held(gate), PATIENCE) == "done"  # there is room again

    asyncio.run(crowd())


def test_a_passed_deadline_is_told_and_the_work_dropped(scheduler: Scheduler) -> None:
    closed = threading.Event()

    def endless() -> Work:
        try:
            while True:
                yield 2 * INLINE_SECONDS
        finally:
            closed.set()

    with pytest.raises(DeadlineExceeded, match=r"not ready within the 0\.05 s") as refusal:
        asyncio.run(scheduler.run(endless(), 0.05))
    assert refusal.value.details == {"seconds": 0.05}
    assert closed.wait(PATIENCE)


def test_a_caller_who_left_is_not_worked_for(scheduler: Scheduler) -> None:
    closed = threading.Event()

    def endless() -> Work:
        try:
            while True:
                yield LONG
        finally:
            closed.set()

    async def leave() -> None:
        caller = asyncio.create_task(scheduler.run(endless(), seconds=100 * PATIENCE))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(leave())
    assert closed.wait(PATIENCE)


@pytest.mark.parametrize("expected", [INLINE, LONG])
def test_errors_reach_the_caller_and_the_thread_lives_on(scheduler: Scheduler, expected: float) -> None:
    def fails() -> Work:
        yield expected
        raise InvalidInput("samples: no")

    with pytest.raises(InvalidInput, match="samples: no"):
        asyncio.run(scheduler.run(fails(), PATIENCE))
    assert asyncio.run(scheduler.run(work(LONG, []), PATIENCE)) == "done"


def test_an_error_of_one_is_not_that_of_another(scheduler: Scheduler) -> None:
    def fails() -> Work:
        yield LONG
        raise RuntimeError("broken")

    async def both() -> None:
        results = await asyncio.gather(
            scheduler.run(fails(), PATIENCE), scheduler.run(work(LONG, []), PATIENCE), return_exceptions=True
        )
        assert isinstance(results[0], RuntimeError)
        assert results[1] == "done"

    asyncio.run(both())


def test_closing_ends_the_thread() -> None:
    scheduler = Scheduler(max_jobs=1, inline_seconds=0)
    scheduler.close()
    assert not scheduler._thread.is_alive()


def test_what_has_least_left_comes_first(scheduler: Scheduler) -> None:
    """So that of equals one after the other is done, not all of them at the last moment."""
    gate, order = threading.Event(), []

    def counted(name: str, steps: int) -> Work:
        yield 10.0  # first seen by the event loop, then by the thread
        gate.wait(PATIENCE)
        for left in reversed(range(steps)):
            order.append(name)
            yield float(left)
        return "done"

    async def all_at_once() -> None:
        one, other = (asyncio.create_task(scheduler.run(counted(name, 3), PATIENCE)) for name in ("one", "other"))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(one, other)

    asyncio.run(all_at_once())
    assert order == ["one"] * 3 + ["other"] * 3


def test_the_pace_is_that_of_the_steps_taken(scheduler: Scheduler) -> None:
    """Steps that take four times as long as foretold: what comes next is expected to, while others are there."""

    def slow() -> Work:
        for left in reversed(range(100)):
            yield 1.0 + left * 0.0005
            sleep(0.002)
        return "done"

    asyncio.run(scheduler.run(slow(), PATIENCE))
    assert scheduler.pace > 2
