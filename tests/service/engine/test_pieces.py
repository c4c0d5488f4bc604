"""Large requests in pieces: whichever worker does them, and whatever fails, the answer is the same bits."""

import asyncio
import pickle
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from service.engine.answers import Sampled
from service.engine.costs import Cost
from service.engine.engine import Engine, Learned
from service.engine.job import Job
from service.engine.pieces import PIECE_SECONDS, PassesPiece, Piece, RowsPiece, cut_evenly
from service.engine.sampling import Ablation, Sampling, StopRule
from service.engine.stages import Stopwatch
from service.errors import CallerGone, DeadlineExceeded, InvalidInput
from service.model.manifest import LearnedNoise
from service.work.scheduling import Scheduler
from tests.toy import Floats, SharingNet, ToyNet

SLOW = Learned(Cost(1e-6), Cost(1e-4), rows_are_independent=True)
"""Costs of a network so slow that much is offered to others."""


class OtherProcesses:
    """Remote workers that get pieces and give results as bytes, in no particular order, and lose each third piece."""

    def __init__(self, engine: Engine, losing: bool = False) -> None:
        self.size = 4
        self.done: list[Piece] = []
        self._engine = engine
        self._losing = losing

    async def do(self, pieces: Sequence[Any]) -> list[Any]:
        results: list[Any] = [None] * len(pieces)
        for place in np.random.default_rng(0).permutation(len(pieces)):
            if not self._losing or place % 3:
                piece = pickle.loads(pickle.dumps(pieces[place]))
                self.done.append(piece)
                results[place] = pickle.loads(pickle.dumps(self._engine.do(piece)))
        return results


class Absent:
    size = 4

    async def do(self, pieces: Sequence[Any]) -> list[Any]:
        raise ConnectionError("no worker is there")


class Cancelling:
    size = 4

    async def do(self, pieces: Sequence[Any]) -> list[Any]:
        raise asyncio.CancelledError


class Idle:
    size = 4

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def do(self, pieces: Sequence[Any]) -> list[Any]:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return []


QUESTIONS = {
    "many rows": (500, Sampling(40, seed=3)),
    "many passes": (2, Sampling(5000, seed=3)),
    "until settled": (500, Sampling(200, seed=3, stop=StopRule(tolerance=0.03, confidence=0.95))),
    "one row until settled": (1, Sampling(10_000, seed=3, stop=StopRule(tolerance=1e-4))),
    "quantiles, samples": (300, Sampling(70, seed=5, quantiles=(0.1, 0.9), keep_samples=True)),
    "changed": (300, Sampling(70, seed=5, dropout_rate=0.3, ablations=(Ablation(0, (1, 2)),))),
}


def engine(**changes: object) -> Engine:
    engine = ToyNet().engine(**changes)
    engine.learned = SLOW
    return engine


async def sample(
    of: Engine, rows: Floats, sampling: Sampling, scheduler: Scheduler, seconds: float = 30.0, gone: Any = None
) -> Any:
    def work(job: Job) -> Sampled:
        return of.sample({"input": rows}, sampling, job)

    return await scheduler.run(work, of.estimate(len(rows), sampling), seconds, Stopwatch(), gone)


async def asked(
    of: Engine, rows: int, sampling: Sampling, workers: Any, seconds: float = 30.0, gone: Any = None
) -> Any:
    scheduler = Scheduler(8, inline_seconds=0.001, remote_workers=workers)
    try:
        return await sample(of, ToyNet().rows(rows), sampling, scheduler, seconds, gone)
    finally:
        await asyncio.to_thread(scheduler.close)


def assert_same(one: Any, other: Any) -> None:
    """To the last bit, all the way down."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif hasattr(one, "__dataclass_fields__"):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


@pytest.mark.parametrize("net", [ToyNet(), SharingNet()])
@pytest.mark.parametrize("losing", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
def test_in_pieces_the_answer_is_the_same(question: str, losing: bool, net: ToyNet) -> None:
    rows, sampling = QUESTIONS[question]
    here, there = net.engine(), net.engine()
    here.learned = there.learned = SLOW
    workers = OtherProcesses(there, losing)
    expected = here.sample({"input": ToyNet().rows(rows)}, sampling)
    assert_same(asyncio.run(asked(here, rows, sampling, workers)), expected)
    kind = PassesPiece if rows < 3 else RowsPiece
    assert len(workers.done) > 2
    assert all(isinstance(piece, kind) for piece in workers.done)


def test_a_learned_noise_comes_back_too() -> None:
    says: dict[str, Any] = {"task": "regression", "labels": (), "noise": LearnedNoise(learned=True, scale=2.0)}
    net = ToyNet(outputs=2)
    here, there = net.engine(**says), net.engine(**says)
    here.learned = SLOW
    expected = here.sample({"input": net.rows(500)}, Sampling(40, 0))
    workers = OtherProcesses(there)
    assert_same(asyncio.run(asked(here, 500, Sampling(40, 0), workers)), expected)
    assert workers.done


@pytest.mark.parametrize("workers", [Absent(), Cancelling()])
def test_without_remote_workers_the_work_is_done_locally(workers: Any) -> None:
    here = engine()
    expected = here.sample({"input": ToyNet().rows(500)}, Sampling(40, 0))
    assert_same(asyncio.run(asked(here, 500, Sampling(40, 0), workers)), expected)


def test_small_work_is_not_distributed() -> None:
    workers = OtherProcesses(engine())
    asyncio.run(asked(engine(), 10, Sampling(40, 0), workers))
    assert not workers.done


def test_a_row_without_a_finite_answer_is_named_by_its_number_in_the_request() -> None:
    rows = ToyNet().rows(500)
    rows[333] = 3e38

    async def ask() -> None:
        scheduler = Scheduler(8, inline_seconds=0.001, remote_workers=workers)
        try:
            await sample(engine(), rows, Sampling(40, 0), scheduler)
        finally:
            await asyncio.to_thread(scheduler.close)

    class Refusing(OtherProcesses):
        async def do(self, pieces: Sequence[Any]) -> list[Any]:
            self.done += pieces
            return [None if (piece.inputs["input"] > 1e38).any() else self._engine.do(piece) for piece in pieces]

    workers = Refusing(engine())
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(ask())
    assert caught.value.details["row"] == 333
    assert workers.done


def test_work_ends_once_the_caller_disconnects() -> None:
    async def hang_up() -> bool:
        workers = Idle()
        with pytest.raises(CallerGone):
            await asked(engine(), 500, Sampling(40, 0), workers, gone=workers.asked.wait)
        async with asyncio.timeout(30):
            return await workers.cancelled.wait()

    assert asyncio.run(hang_up())


def test_a_deadline_holds_for_others_too() -> None:
    async def wait() -> bool:
        workers = Idle()
        with pytest.raises(DeadlineExceeded):
            await asked(engine(), 500, Sampling(40, 0), workers, seconds=1.0)
        async with asyncio.timeout(30):
            return await workers.cancelled.wait()

    assert asyncio.run(wait())


def test_what_would_take_too_long_alone_is_taken_on_with_others() -> None:
    """Foretold are 40 s here, and 10 s for four remote workers."""
    slow = engine()
    slow.learned = SLOW._replace(row_pass_cost=Cost(2e-3))
    with pytest.raises(DeadlineExceeded, match="would take about 40"):
        asyncio.run(asked(slow, 500, Sampling(40, 0), None))
    assert asyncio.run(asked(slow, 500, Sampling(40, 0), OtherProcesses(engine())))


def test_other_models_of_the_same_name_are_distinguished() -> None:
    assert engine().key == engine().key
    assert engine().key != engine(temperature=2.0).key


def test_pieces_are_of_whole_parts() -> None:
    assert cut_evenly(100, 20, 10 * PIECE_SECONDS) == 20
    assert cut_evenly(1000, 20, 10 * PIECE_SECONDS) == 100
    assert cut_evenly(1000, 20, 0.0) == 1000
