"""Requests of one turn of the loop are run together, and get the answers that each would get alone."""

import asyncio
from collections.abc import Sequence
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest
import structlog
from msgspec.structs import replace

from service.engine.answers import Prediction, Sampled
from service.engine.costs import Cost
from service.engine.engine import Engine, Learned
from service.engine.inputs import Inputs
from service.engine.job import Job
from service.engine.sampling import Sampling, StopRule
from service.engine.stages import Intervals, Stopwatch
from service.errors import InvalidInput
from service.inference import Answer, Request
from service.loading.warmup import warm_up
from service.telemetry.records import Record
from service.turn import Encode, Turns
from service.work.scheduling import Scheduler
from tests.conftest import PATIENCE
from tests.toy import Floats, LookupNet, ToyNet, warmed

MILLISECOND_A_ROW = Learned(row_cost=Cost(each=0.001), rows_are_independent=True)


class Echo(Engine):
    """A model that returns its rows, and notes how many it got at a time."""

    def __init__(self, invalid: float = np.nan, failing_rows: int = 100) -> None:
        self.learned = MILLISECOND_A_ROW._replace(row_cost=Cost(each=1e-6))
        self.rows: list[int] = []
        self.invalid = invalid
        """A value that makes a whole run fail."""
        self.failing_rows = failing_rows
        """A number of rows at which a run fails unexpectedly."""

    def predict(self, inputs: Inputs, job: Job | None = None) -> Prediction:
        values = inputs["input"]
        self.rows.append(len(values))
        if len(values) >= self.failing_rows:
            raise RuntimeError("not with so many")
        if (values == self.invalid).any():
            raise InvalidInput("invalid")
        assert job
        job.watch.lap("run")
        return Prediction(values.astype(np.float64))

    def request(self, *values: float) -> Request:
        return Request(self, {"input": np.array(values, dtype=np.float32)[:, None]})


def encode(answer: Answer, rows: slice) -> list[float]:
    """Return the values of the rows, or fail for a 9."""
    values: list[float] = answer.prediction.values[rows, 0].tolist()
    if 9 in values:
        raise InvalidInput("cannot be encoded")
    return values


def answer(turns: Turns, request: Request, encode: Encode[Any] = encode, record: Record | None = None) -> Any:
    """Return a coroutine that answers a request."""
    return turns.answer(record or Record("POST", "/", {}), lambda _: (request, encode), 0.0, PATIENCE)


def run_at_once(
    requests: Sequence[Request], max_seconds: float = 1.0, records: Sequence[Record] = (), encode: Encode[Any] = encode
) -> list[Any]:
    """Answer requests of one turn of the loop; return the answers, or the errors raised."""
    records = records or [Record("POST", "/", {}) for _ in requests]

    async def answer_all() -> list[Any]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=max_seconds)
        turns = Turns(scheduler, Intervals)
        try:
            each = [answer(turns, request, encode, record) for record, request in zip(records, requests, strict=True)]
            return await asyncio.gather(*each, return_exceptions=True)
        finally:
            scheduler.close()

    return asyncio.run(answer_all())


def test_the_requests_of_a_turn_share_a_run() -> None:
    model = Echo()
    answers = run_at_once([model.request(1), model.request(2), model.request(3, 4), model.request(5)])
    assert answers == [[1], [2], [3, 4], [5]]
    assert model.rows == [5]


def test_a_request_does_not_wait_for_a_later_turn() -> None:
    model = Echo()

    async def answer_one_by_one() -> None:
        scheduler = Scheduler(max_jobs=1, inline_seconds=1.0)
        turns = Turns(scheduler)
        for value in range(3):
            assert await answer(turns, model.request(value)) == [value]
        scheduler.close()

    asyncio.run(answer_one_by_one())
    assert model.rows == [1, 1, 1]


def test_different_models_are_not_mixed() -> None:
    one, other = Echo(), Echo()
    requests = [model.request(i) for i in range(3) for model in (one, other)]
    assert run_at_once(requests) == [[0], [0], [1], [1], [2], [2]]
    assert (one.rows, other.rows) == ([3], [3])


def test_different_thresholds_are_not_mixed() -> None:
    model = Echo()
    requests = [replace(model.request(i), error_rate=rate) for i in range(3) for rate in (0.1, 0.2)]
    assert run_at_once(requests) == [[0], [0], [1], [1], [2], [2]]
    assert model.rows == [3, 3]


def test_a_batch_takes_a_few_times_as_long_as_a_request_on_the_event_loop_may() -> None:
    model = Echo()
    model.learned = MILLISECOND_A_ROW._replace(row_cost=Cost(each=0.0009))
    assert run_at_once([model.request(i) for i in range(10, 20)], max_seconds=0.001) == [[i] for i in range(10, 20)]
    assert model.rows == [4, 4, 2]


def test_a_longer_request_runs_alone_in_a_thread() -> None:
    model = Echo()
    model.learned = MILLISECOND_A_ROW
    answers = run_at_once([model.request(0), model.request(1, 2, 3), model.request(4)], max_seconds=0.002)
    assert answers == [[0], [1, 2, 3], [4]]
    assert sorted(model.rows) == [2, 3]


def test_an_error_is_raised_only_for_its_own_request() -> None:
    model = Echo(invalid=2)
    answers = run_at_once([model.request(i) for i in range(4)])
    assert isinstance(answers.pop(2), InvalidInput)
    assert answers == [[0], [1], [3]]


def test_an_answer_that_cannot_be_encoded_costs_no_other_request_its_answer() -> None:
    model = Echo()
    answers = run_at_once([model.request(i) for i in (8, 9, 10)])
    assert isinstance(answers.pop(1), InvalidInput)
    assert answers == [[8], [10]]
    assert model.rows == [3]


def test_a_request_that_cannot_be_decoded_costs_no_other_request_its_answer() -> None:
    model = Echo()

    def fail(_: Job) -> Any:
        raise InvalidInput("no rows")

    async def answer_both() -> list[Any]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=1.0)
        turns = Turns(scheduler)
        each = [
            turns.answer(Record("POST", "/", {}), fail, 0.0, PATIENCE),
            answer(turns, model.request(1)),
        ]
        answers = await asyncio.gather(*each, return_exceptions=True)
        scheduler.close()
        return answers

    error, values = asyncio.run(answer_both())
    assert isinstance(error, InvalidInput)
    assert values == [1]


def test_the_stopwatch_of_a_turn_starts_when_its_bytes_are_read() -> None:
    """Not when the first bytes came: how long they lay in the socket is measured and counted apart."""

    async def read_after_other_work() -> tuple[Stopwatch, Stopwatch, float]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=1.0)
        turns, read, done = Turns(scheduler), [], asyncio.Event()
        turns.read_later(lambda: read.append(turns.watch()))
        sleep(0.05)  # noqa: ASYNC251 - such as a batch of an earlier turn
        ended = perf_counter()
        asyncio.get_running_loop().call_later(0.01, done.set)
        await done.wait()
        scheduler.close()
        return read[0], turns.watch(), ended

    watch, later, ended = asyncio.run(read_after_other_work())
    assert watch.started >= ended
    assert watch.seconds["receive"] < 0.05
    assert later.started > watch.started  # a request between two turns has a stopwatch of its own


def test_a_cancelled_request_delays_no_other() -> None:
    model = Echo()

    async def answer_but_one() -> list[Any]:
        scheduler = Scheduler(max_jobs=1, inline_seconds=1.0)
        turns = Turns(scheduler)
        tasks = [asyncio.ensure_future(answer(turns, model.request(i))) for i in range(4)]
        asyncio.get_running_loop().call_soon(tasks[2].cancel)  # in the turn in which all were received
        answers = [await task for i, task in enumerate(tasks) if i != 2]
        scheduler.close()
        return answers

    assert asyncio.run(answer_but_one()) == [[0], [1], [3]]


def test_the_stages_of_a_turn_are_those_of_each_of_its_requests() -> None:
    model = Echo()
    records = [Record("POST", "/", {}, Intervals()) for _ in range(3)]
    run_at_once([model.request(i) for i in range(3)], records=records)
    for record in records:
        assert isinstance(record.watch, Intervals)
        assert list(record.watch.seconds) == ["receive", "parse", "run", "encode"]
        assert record.watch.spans["parse"][1] <= record.watch.spans["run"][1] <= record.watch.spans["encode"][1]
        assert record.watch.seconds == records[0].watch.seconds


def test_an_internal_error_costs_no_other_request_its_answer() -> None:
    """And is logged."""
    model = Echo(failing_rows=2)
    with structlog.testing.capture_logs() as logged:
        assert run_at_once([model.request(i) for i in range(4)]) == [[0], [1], [2], [3]]
    assert [entry["calls"] for entry in logged] == [4]


# with an engine


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    return warmed(toy.engine(), toy.rows(8))


def answer_each(engine: Engine, rows: Floats, sampling: Sampling | None = None) -> list[Any]:
    """Request each row, all in one turn of the loop; return the answers, or the errors raised."""
    requests = [Request(engine, {"input": rows[i : i + 1]}, sampling) for i in range(len(rows))]
    return run_at_once(requests, 10.0, encode=Answer.take)


def test_answers_are_to_the_bit_those_without_company(engine: Engine, toy: ToyNet) -> None:
    rows = toy.rows(40, seed=5)
    assert engine.learned.rows_are_independent

    for i, answer in enumerate(answer_each(engine, rows)):
        np.testing.assert_array_equal(answer.prediction.values, engine.predict({"input": rows[i : i + 1]}).values)


@pytest.fixture(scope="module")
def regression() -> Engine:
    """Of one output, whose samples are a lone column where there is one row."""
    net = ToyNet(outputs=1)
    return warmed(net.engine(task="regression", labels=()), net.rows(8))


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
    engine = warmed(net.engine(), np.abs(net.rows(8)))
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
    run = engine._network.predict

    def run_otherwise_alone(feeds: Inputs) -> Floats:
        return run(feeds) + np.float32(1e-7 if len(feeds["input"]) == 1 else 0)

    engine._network.predict = run_otherwise_alone  # type: ignore[method-assign, assignment]
    engine.learned = warm_up(engine)
    assert not engine.learned.rows_are_independent
    assert engine.batch_cost(1, None) is None
