"""Under load: what is refused before it begins, what is dropped, and what goes on regardless. Order, never time."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest

from service.engine.costs import measure
from service.engine.job import Estimate, Job
from service.engine.stages import Stopwatch
from service.errors import DeadlineExceeded, Overloaded
from service.work.scheduling import Scheduler
from tests.conftest import PATIENCE, Serve, wait_until
from tests.service.telemetry.test_metrics import value
from tests.toy import ToyNet

HEAVY = {"inputs": [[0.5, 0.5, 0.5, 0.5]] * 25, "samples": 10_000}


@pytest.fixture(scope="module")
def heavy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy so wide that the most a caller may ask takes a few seconds."""
    models = tmp_path_factory.mktemp("heavy")
    ToyNet(hidden=4096).publish(models)
    return models


@pytest.fixture
def heavy(serve: Serve, heavy_models: Path) -> Iterator[httpx.Client]:
    with serve(models=heavy_models) as client:
        yield client


def connect(client: httpx.Client) -> socket.socket:
    """A bare connection, to do what no decent client does."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), PATIENCE)


def head(path: str, length: int, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


# before it begins


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(max_jobs=3, inline_seconds=0.0)
    yield scheduler
    scheduler.close()


async def run(scheduler: Scheduler, seconds: float, *expected: float, gate: threading.Event | None = None) -> str:
    """Run work that is expected to take so long: at first, and at each of its pauses, which wait for the gate."""

    def work(job: Job) -> str:
        for left in expected[1:]:
            assert gate is None or gate.wait(PATIENCE)
            job.pause(left)
        return "done"

    return await scheduler.run(work, Estimate(expected[0]), seconds, Stopwatch())


def test_what_cannot_be_done_in_time_is_not_begun(scheduler: Scheduler) -> None:
    with pytest.raises(DeadlineExceeded, match=r"about 100 s, but 30 s are left"):
        asyncio.run(run(scheduler, 30, 100.0, 50.0))
    assert scheduler.steps_taken == 0


def test_what_turns_out_too_long_is_not_gone_on_with(scheduler: Scheduler) -> None:
    """Such as a long body, of which only its decoding is foreseen."""
    with pytest.raises(DeadlineExceeded, match=r"about 100 s"):
        asyncio.run(run(scheduler, 30, 1.0, 100.0, 50.0))
    assert scheduler.steps_taken == 1


def test_work_that_must_wait_too_long_is_refused_with_retry_after(scheduler: Scheduler) -> None:
    async def crowd() -> None:
        gate = threading.Event()
        waiting = [asyncio.create_task(run(scheduler, 100, 20.0, 0.1, gate=gate)) for _ in range(2)]
        await asyncio.sleep(0)
        assert scheduler.depth == 2
        assert scheduler.remaining == pytest.approx(40.0, abs=5)
        with pytest.raises(Overloaded, match=r"with the requests in the queue") as refusal:
            await run(scheduler, 30, 25.0)  # what has less left goes first: 40 s, and then this
        assert 30 <= refusal.value.details["retry_after"] <= 36  # 65 s, of which 30 s may pass
        short = asyncio.create_task(run(scheduler, 30, 5.0, 0.1, gate=gate))  # it goes before both
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*waiting, short) == ["done"] * 3

    asyncio.run(crowd())
    assert (scheduler.depth, scheduler.remaining) == (0, 0)


def test_a_full_queue_tells_when_there_may_be_room(scheduler: Scheduler) -> None:
    async def crowd() -> None:
        gate = threading.Event()
        waiting = [asyncio.create_task(run(scheduler, 1000, 4.0, 0.1, gate=gate)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="the queue is full with 3 requests") as refusal:
            await run(scheduler, 1000, 1.0)
        assert 1 <= refusal.value.details["retry_after"] <= 12
        gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(crowd())


def test_work_that_cannot_meet_its_deadline_is_refused(heavy: httpx.Client) -> None:
    refused = heavy.post("/uncertainty", json=HEAVY, headers={"x-request-timeout": "0.01"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_refusal_has_retry_after(serve: Serve, heavy_models: Path) -> None:
    with serve(models=heavy_models, queue_size=1) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/uncertainty", json=HEAVY)
        wait_until(lambda: value(client, "dropserve_queue_depth") == 1)
        assert value(client, "dropserve_queue_seconds") > 0
        refused = client.post("/uncertainty", json=HEAVY)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) == refused.json()["error"]["details"]["retry_after"] >= 1
        assert first.result().status_code == 200


def test_costs_are_the_line_through_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def take(count: int) -> None:
        nonlocal now
        now += 3.0 + 0.5 * count

    monkeypatch.setattr("service.engine.costs.perf_counter", lambda: now)
    monkeypatch.setattr("service.engine.costs.process_time", lambda: now)
    cost = measure(take, 2, 10)
    assert (cost.run, cost.each) == pytest.approx((3.0, 0.5))
    assert cost.seconds(7) == pytest.approx(6.5)
    assert cost.seconds(25) == pytest.approx(3 * 3.0 + 12.5)  # in three runs
    assert cost.seconds(0) == 0


# what is dropped


def test_no_work_is_done_for_a_disconnected_caller(heavy: httpx.Client) -> None:
    """Once he has gone, the worker thread takes the steps of another's request and not one more."""
    light = {"inputs": [[0.5] * 4] * 25, "samples": 500}
    before = value(heavy, "dropserve_steps_total")
    assert heavy.post("/uncertainty", json=light).status_code == 200
    steps = value(heavy, "dropserve_steps_total") - before
    assert steps > 1

    body = orjson.dumps(HEAVY)
    with connect(heavy) as connection:
        connection.sendall(head("/uncertainty", len(body)) + body)
        wait_until(lambda: value(heavy, "dropserve_queue_depth") == 1)
        wait_until(lambda: value(heavy, "dropserve_steps_total") > before + steps)
    wait_until(lambda: value(heavy, "dropserve_queue_depth") == 0)
    model = {"model": "toy", "version": "1"}
    wait_until(lambda: value(heavy, "dropserve_requests_total", route="/uncertainty", status="499", **model) == 1)

    at_rest = value(heavy, "dropserve_steps_total")
    assert heavy.post("/uncertainty", json=light).status_code == 200
    assert value(heavy, "dropserve_steps_total") - at_rest - steps <= 1  # the step that he left in
    assert at_rest - before - steps < 20 * steps - 1  # all of it would have been 20 times the light one's


def test_a_body_that_does_not_arrive_is_not_waited_for(serve: Serve, published: Path) -> None:
    with serve(models=published, request_timeout=0.2) as client:
        for sent in (b"", b'{"inputs":'):
            with connect(client) as connection:
                connection.sendall(head("/predict", 1000) + sent)
                answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))  # type: ignore[misc]
            top, _, content = answer.partition(b"\r\n\r\n")
            assert top.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in top.lower()
            assert orjson.loads(content)["error"]["code"] == "slow_body"
        assert client.get("/healthz").status_code == 200


def test_a_body_in_pieces_is_put_together(client: httpx.Client, toy: ToyNet) -> None:
    body = orjson.dumps({"inputs": toy.rows(2).tolist()})
    expected = client.post("/predict", content=body).content

    def pieces() -> Iterator[bytes]:
        for i in range(0, len(body), 7):
            yield body[i : i + 7]

    assert client.post("/predict", content=pieces(), headers={"content-type": "application/json"}).content == expected
    with connect(client) as connection:
        connection.sendall(head("/predict", len(body), "connection: close"))
        for i in range(0, len(body), 20):
            connection.sendall(body[i : i + 20])
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.endswith(expected)


def test_a_caller_that_disconnects_while_sending_leaves_no_state(client: httpx.Client) -> None:
    name, labels = "dropserve_requests_total", {"route": "/predict", "model": "toy", "version": "2", "status": "499"}
    before = value(client, name, **labels)
    with connect(client) as connection:
        connection.sendall(head("/predict", 1000) + b'{"inputs":')
    wait_until(lambda: value(client, name, **labels) == before + 1)


# what goes on


def test_a_request_of_10_000_passes_does_not_stall_predictions(heavy: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(heavy.post, "/uncertainty", json=HEAVY)
        wait_until(lambda: value(heavy, "dropserve_queue_depth") == 1)
        for _ in range(20):
            assert heavy.post("/predict", json={"inputs": [[0.5] * 4]}).status_code == 200
        assert heavy.post("/uncertainty", json={"inputs": [[0.5] * 4] * 10, "samples": 100}).status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 200


def test_garbage_does_no_harm(client: httpx.Client, toy: ToyNet) -> None:
    for garbage in (b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"POST /predict HTTP/1.1\r\ncontent-length: -5\r\n\r\n"):
        with connect(client) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert client.post("/predict", json={"inputs": toy.rows(1).tolist()}).status_code == 200
