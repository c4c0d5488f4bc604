"""More connections than a worker keeps: every request is answered, and files can still be opened."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from math import inf
from pathlib import Path

import httpx
import pytest

from service.access.calls import ASGIApp, Receive, Scope, Send
from service.config import Settings
from service.http.app import create_app
from service.http.connection import MIN_IDLE, Connection, Limits
from service.http.open_files import OTHER_FILES
from tests.conftest import PATIENCE, running_server, wait_until
from tests.service.sockets import address, is_read

MOST = 4
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
QUESTION = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
STALL = b"GET /stall HTTP/1.1\r\nhost: x\r\n\r\n"


class Stalling:
    """The service, whose event loop stands still from a request of `/stall` until the test lets it go on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.stands, self.goes_on = threading.Event(), threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/stall":
            self.stands.set()
            assert self.goes_on.wait(PATIENCE)
        await self._app(scope, receive, send)


@pytest.fixture
def app(published: Path) -> Stalling:
    """It keeps four connections, none of which ends for any other reason."""
    return Stalling(create_app(Settings(models=published, max_connections=MOST, idle_timeout=60)))


@pytest.fixture
def running(app: Stalling, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """No connection of it is open; one rests from the end of its answer on."""
    monkeypatch.setattr("service.http.connection.MIN_IDLE", 0.0)
    with running_server(app) as running:
        running.close()
        wait_until(lambda: open_sockets(running) == 0)
        yield running


@pytest.fixture
def callers(running: httpx.Client) -> Iterator[list[socket.socket]]:
    """As many as it keeps, each of whom was answered, and one more, who is not connected yet."""
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.socket()) for _ in range(MOST + 1)]
        for caller in callers:
            caller.settimeout(PATIENCE)
        for caller in callers[:MOST]:
            caller.connect(address(running))
            assert b"200 OK" in ask(caller)
            time.sleep(0.01)  # loops count milliseconds: connections of one have no order
        yield callers


def ask(caller: socket.socket, question: bytes = HEALTH) -> bytes:
    caller.sendall(question)
    return caller.recv(4096)


def test_who_rested_longest_goes(running: httpx.Client, callers: list[socket.socket]) -> None:
    first, second, *others, newcomer = callers
    ask(first)
    newcomer.connect(address(running))
    assert b"connection: close" not in ask(newcomer)
    assert second.recv(1) == b""
    assert [ask(caller)[9:15] for caller in (first, *others, newcomer)] == [b"200 OK"] * MOST


def test_where_none_rests_the_newcomer_is_answered_and_goes(
    running: httpx.Client, callers: list[socket.socket]
) -> None:
    *busy, newcomer = callers
    for caller in busy:
        caller.sendall(QUESTION[:-1])
        wait_until(lambda caller=caller: is_read(caller))  # type: ignore[misc]
    newcomer.connect(address(running))
    answer = ask(newcomer)
    assert b"200 OK" in answer
    assert b"connection: close" in answer
    assert newcomer.recv(1) == b""
    assert all(b"422" in ask(caller, QUESTION[-1:]) for caller in busy)


def test_where_none_rested_long_enough_the_newcomer_is_answered_and_goes(
    running: httpx.Client, callers: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.connection.MIN_IDLE", 2 * PATIENCE)
    callers[-1].connect(address(running))
    assert b"connection: close" in ask(callers[-1])
    assert all(b"200 OK" in ask(caller) for caller in callers[:-1])


def test_who_asked_and_was_not_read_yet_does_not_rest(
    app: Stalling, running: httpx.Client, callers: list[socket.socket]
) -> None:
    stalling, *resting, newcomer = callers
    stalling.sendall(STALL)
    assert app.stands.wait(PATIENCE)
    newcomer.connect(address(running))
    for caller in (*resting, newcomer):
        caller.sendall(HEALTH)
    app.goes_on.set()
    assert all(b"200 OK" in caller.recv(4096) for caller in (*resting, newcomer))


class Busy(Connection):
    """A connection that is never idle, and counts how often that is looked up."""

    looked_up = 0

    def __init__(self) -> None:
        """Have no transport."""

    def idle_since(self) -> float:
        type(self).looked_up += 1
        return inf

    def make_room(self, now: float) -> bool:
        return False


def test_a_flood_of_connections_is_not_searched_for_each() -> None:
    """It was: 10,000 connections stopped the event loop for 40 s."""
    busy, limits = [Busy() for _ in range(MOST + 1)], Limits(connections=MOST)
    assert not any(limits.have_room(busy, 10.0 + number / 1000) for number in range(900))
    assert Busy.looked_up <= 2 * len(busy)
    assert not limits.have_room(busy, 10.0 + MIN_IDLE)
    assert Busy.looked_up > 2 * len(busy)
    assert limits.have_room(busy[:MOST], 10.0)


def test_a_newcomer_may_ask_for_another_protocol(
    running: httpx.Client, callers: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """His head is read twice."""
    monkeypatch.setattr("service.http.connection.MIN_IDLE", 2 * PATIENCE)
    callers[-1].connect(address(running))
    answer = ask(callers[-1], HEALTH[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert b"200 OK" in answer
    assert b"connection: close" in answer


def test_who_takes_a_long_answer_does_not_rest_and_others_go(running: httpx.Client) -> None:
    """He is the one who asked first, and none goes for him again and again."""
    long = json.dumps({"inputs": [[0.0] * 4] * 20, "samples": 8000, "return_samples": True}).encode()
    head = b"POST /uncertainty HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(long)
    with ExitStack() as stack:
        taker, *newcomers = (stack.enter_context(socket.socket()) for _ in range(4 * MOST))
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        taker.connect(address(running))
        answer = ask(taker, head + long)
        assert b"200 OK" in answer
        for newcomer in newcomers:
            newcomer.settimeout(PATIENCE)
            newcomer.connect(address(running))
            assert b"200 OK" in ask(newcomer)
        wait_until(lambda: open_sockets(running) <= MOST)
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        while not answer.endswith(b"}"):
            answer += taker.recv(2**20)
        assert len(answer) > 4_000_000


def open_sockets(running: httpx.Client) -> int:
    """Connections that have not ended, by the service's own end of them."""
    port = running.base_url.port
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(int(line[1].split(":")[1], 16) == port and line[3] in ("01", "08") for line in lines)


@pytest.mark.parametrize(("hard", "room"), [(10_000, 4096), (1024, 1024 - OTHER_FILES), (300, 150)])
def test_connections_leave_room_for_files(hard: int, room: int) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard}))
from service.http.open_files import room_for
print(room_for(4096), resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(4096, {hard}))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == f"{room} True"
