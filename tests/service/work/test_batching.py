"""Micro-batching: calls of one turn of the loop are run together, and get the answers that each would get alone."""

import asyncio
from collections.abc import Awaitable, Hashable, Sequence
from typing import Any

import numpy as np
import pytest
import structlog
from service.work.batching import BatchableCall, Batches

from service.engine.answers import Prediction, Sampled
from service.engine.costs import Cost
from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.engine.job import Job
from service.engine.sampling import Sampling, StopRule
from service.engine.stages import Intervals
from service.errors import InvalidInput
from service.inference import Answer, Request
from service.loading.warmup import warm_up
from service.telemetry.records import Record
from service.turn import Turns
from service.work.scheduling import Scheduler
from tests.conftest import PATIENCE
from tests.toy import Floats, LookupNet, ToyNet

SECOND_A_ROW = Cost(each=1.0)


class Asked:
    """Answers with the rows themselves, and notes how many were asked about at a time."""

    def __init__(self, odd: float = np.nan) -> None:
        self.rows: list[int] = []
        self.odd = odd
        """A row that makes the whole fail."""

    def __call__(self, inputs: Inputs, job: Job) -> Prediction:
        values = inputs["input"]
        self.rows.append(len(values))
        if (values == self.odd).any():
            raise InvalidInput("odd")
        job.watch.lap("run")
        return Prediction(values.astype(np.float64))

    def call(self, *values: float, kind: Hashable = 0, cost: Cost = SECOND_A_ROW) -> BatchableCall:
        rows = np.array(values, dtype=np.float32)[:, None]
        return BatchableCall(kind, {"input": rows}, len(rows), self, Job(Intervals()), cost)


def run_at_once(calls: Sequence[BatchableCall], max_seconds: float = 100) -> list[Any]:
    """All in one turn of the loop; answers, or the errors raised."""

    async def ask() -> list[Any]:
        batches = Batches(max_seconds)
        return await asyncio.gather(*map(batches.run, calls), return_exceptions=True)

    return asyncio.run(ask())


def values(answers: Sequence[Any]) -> list[list[float]]:
    return [answer.values[:, 0].tolist() for answer in answers]


def test_the_first_is_answered_at_once_and_those_behind_it_together() -> None:
    asked = Asked()
    answers = run_at_once([asked.call(1), asked.call(2), asked.call(3, 4), asked.call(5)])
    assert values(answers) == [[1], [2], [3, 4], [5]]
    assert asked.rows == [1, 4]


def test_a_batch_does_not_wait_for_a_later_turn() -> None:
    asked = Asked()

    async def ask() -> None:
        batches = Batches(100)
        for value in range(3):
            answer = await batches.run(asked.call(value))
            assert values([answer]) == [[value]]
            await asyncio.sleep(0)

    asyncio.run(ask())
    assert asked.rows == [1, 1, 1]


def test_different_kinds_are_not_mixed() -> None:
    one, other = Asked(), Asked()
    calls = [one.call(0)]
    calls += [asked.call(i, kind=asked) for i in range(3) for asked in (one, other)]
    assert values(run_at_once(calls)) == [[0], [0], [0], [1], [1], [2], [2]]
    assert (one.rows, other.rows) == ([1, 3], [3])


def test_a_batch_is_no_longer_than_it_may_keep_others_waiting() -> None:
    asked = Asked()
    calls = [asked.call(i) for i in range(6)]
    assert values(run_at_once(calls, max_seconds=2)) == [[i] for i in range(6)]
    assert asked.rows == [1, 2, 2, 1]


def test_a_longer_call_runs_alone() -> None:
    asked = Asked()
    run_at_once([asked.call(0), asked.call(1, 2, 3), asked.call(4)], max_seconds=2)
    assert asked.rows == [1, 3, 1]


def test_an_error_is_raised_only_for_its_own_call() -> None:
    asked = Asked(odd=2)
    answers = run_at_once([asked.call(i) for i in range(4)])
    assert isinstance(answers.pop(2), InvalidInput)
    assert values(answers) == [[0], [1], [3]]


def test_a_cancelled_call_delays_no_other() -> None:
    asked = Asked()

    async def ask() -> list[Any]:
        batches = Batches(100)
        tasks = [asyncio.ensure_future(batches.run(asked.call(i))) for i in range(4)]
        asyncio.get_running_loop().call_soon(tasks[2].cancel)  # in the turn in which all have asked
        return [await task for i, task in enumerate(tasks) if i != 2]

    assert len(asyncio.run(ask())) == 3
    assert asked.rows == [1, 2]


def test_the_time_of_a_batch_is_the_time_of_each() -> None:
    asked = Asked()
    calls = [asked.call(i) for i in range(3)]
    run_at_once(calls)
    first, *others = [call.job.watch for call in calls]
    assert set(first.seconds) == {"run"}
    for watch in others:
        assert isinstance(watch, Intervals)
        assert set(watch.seconds) == {"queue", "run"}
        assert watch.spans["queue"][0] <= watch.spans["run"][0]
    assert others[0].seconds["run"] == others[1].seconds["run"]


def test_an_internal_error_costs_no_other_call_its_answer() -> None:
    """And is logged."""

    class Odd(Asked):
        def __call__(self, inputs: Inputs, job: Job) -> Prediction:
            if len(inputs["input"]) > 1:
                raise RuntimeError("not with so many")
            return super().__call__(inputs, job)

    asked = Odd()
    with structlog.testing.capture_logs() as logged:
        assert values(run_at_once([asked.call(i) for i in range(4)])) == [[0], [1], [2], [3]]
    assert [entry["calls"] for entry in logged] == [3]


# with an engine


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    engine = toy.engine()
    engine.examples = {"input": toy.rows(8)}
    engine.learned = warm_up(engine)
    return engine


def answer_each(engine: Engine, rows: Floats, sampling: Sampling | None = None) -> list[Any]:
    """Request each row, all in one turn of the loop; answers, or the errors raised."""

    def answer(row: Floats, turns: Turns) -> Awaitable[Answer]:
        request = Request(engine, {"input": row}, sampling)
        return turns.answer(Record("POST", "/", {}), lambda _: (request, lambda answer: answer), 0.0, PATIENCE)

    async def ask_all() -> list[Any]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=10.0)
        try:
            turns = Turns(scheduler)
            each = (answer(rows[i : i + 1], turns) for i in range(len(rows)))
            return await asyncio.gather(*each, return_exceptions=True)
        finally:
            scheduler.close()

    return asyncio.run(ask_all())


def test_answers_are_to_the_bit_those_without_company(engine: Engine, toy: ToyNet) -> None:
    rows = toy.rows(40, seed=5)
    assert engine.learned.rows_are_independent

    for i, answer in enumerate(answer_each(engine, rows)):
        np.testing.assert_array_equal(answer.prediction.values, engine.predict({"input": rows[i : i + 1]}).values)


@pytest.fixture(scope="module")
def regression() -> Engine:
    """Of one output, whose samples are a lone column where there is one row."""
    net = ToyNet(outputs=1)
    engine = net.engine(task="regression", labels=())
    engine.examples = {"input": net.rows(8)}
    engine.learned = warm_up(engine)
    return engine


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(30, 1),
        Sampling(30, 1, quantiles=(0.1, 0.9), keep_samples=True),
        Sampling(400, 1, StopRule(tolerance=0.03), keep_samples=True),
    ],
)
def test_samples_are_to_the_bit_those_without_company(
    engine: Engine, regression: Engine, toy: ToyNet, sampling: Sampling, task: str
) -> None:
    engine = regression if task == "regression" else engine
    rows = toy.rows(20, seed=6)

    for i, answer in enumerate(answer_each(engine, rows, sampling)):
        found = answer.sampled
        alone = engine.sample({"input": rows[i : i + 1]}, sampling)
        assert isinstance(found, Sampled)
        for name in type(alone.uncertainty).__slots__:
            np.testing.assert_array_equal(getattr(found.uncertainty, name), getattr(alone.uncertainty, name), name)
        np.testing.assert_array_equal(found.quantiles, alone.quantiles)
        np.testing.assert_array_equal(found.passes, alone.passes)
        np.testing.assert_array_equal(found.deterministic.values, alone.deterministic.values)
        assert found.stopped == alone.stopped
        assert [one.tolist() for one in found.values] == [one.tolist() for one in alone.values]


def test_the_batch_mates_of_a_row_that_the_graph_cannot_take_get_their_answers() -> None:
    net = LookupNet()
    engine = net.engine()
    engine.examples = {"input": np.abs(net.rows(8))}
    engine.learned = warm_up(engine)
    assert engine.learned.rows_are_independent
    rows = np.abs(net.rows(5))
    rows[3, 0] = 9

    with structlog.testing.capture_logs() as logged:
        answers = answer_each(engine, rows)
    assert answers.pop(3).details == {"field": "inputs[0]", "row": 0}
    for row, answer in zip(np.delete(rows, 3, axis=0), answers, strict=True):
        np.testing.assert_array_equal(answer.prediction.values, engine.predict({"input": row[None]}).values)
    assert logged == []


def test_rows_that_depend_on_their_batch_mates_are_not_shared(toy: ToyNet) -> None:
    engine = toy.engine()
    engine.examples = {"input": toy.rows(8)}
    run = engine._predict.run

    def run_otherwise_alone(feeds: Inputs) -> Floats:
        return run(feeds) + np.float32(1e-7 if len(feeds["input"]) == 1 else 0)

    engine._predict.run = run_otherwise_alone  # type: ignore[method-assign]
    engine.learned = warm_up(engine)
    assert not engine.learned.rows_are_independent
    assert engine.batch_cost(1, None) is None
