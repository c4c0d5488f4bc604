"""More connections than a worker keeps: nobody who asked goes without an answer, and files can still be opened."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.http.connection import RESTED
from service.http.open_files import OTHER_FILES
from tests.service.processes import Service, service

MOST = 4
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
QUESTION = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def running(tmp_path: Path, published: Path) -> Iterator[Service]:
    """A service that keeps four connections, none of which is open."""
    few = {"DROPSERVE_MAX_CONNECTIONS": str(MOST), "DROPSERVE_IDLE_TIMEOUT": "60"}  # none goes for any other reason
    with service(tmp_path, DROPSERVE_MODELS=str(published), **few) as running:
        running.client.close()
        yield running


@pytest.fixture
def callers(running: Service) -> Iterator[list[socket.socket]]:
    """As many as it keeps, each of whom was answered, and one more, who is not connected yet."""
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.socket()) for _ in range(MOST + 1)]
        for caller in callers:
            caller.settimeout(30)
        for caller in callers[:MOST]:
            connect(caller, running)
            assert b"200 OK" in ask(caller)
            time.sleep(0.01)  # loops count milliseconds: who came within one is nobody's first
        yield callers


def connect(caller: socket.socket, running: Service) -> None:
    caller.connect((running.client.base_url.host, running.client.base_url.port))


def ask(caller: socket.socket, question: bytes = HEALTH) -> bytes:
    caller.sendall(question)
    return caller.recv(4096)


def test_who_rested_longest_goes(running: Service, callers: list[socket.socket]) -> None:
    first, second, *others, newcomer = callers
    time.sleep(RESTED + 0.1)
    ask(first)
    connect(newcomer, running)
    assert b"connection: close" not in ask(newcomer)
    assert second.recv(1) == b""
    assert [ask(caller)[9:15] for caller in (first, *others, newcomer)] == [b"200 OK"] * MOST


def test_where_none_rests_the_newcomer_is_answered_and_goes(running: Service, callers: list[socket.socket]) -> None:
    *busy, newcomer = callers
    for caller in busy:
        caller.sendall(QUESTION[:-1])
    time.sleep(RESTED + 0.1)
    connect(newcomer, running)
    answer = ask(newcomer)
    assert b"200 OK" in answer
    assert b"connection: close" in answer
    assert newcomer.recv(1) == b""
    assert all(b"422" in ask(caller, QUESTION[-1:]) for caller in busy)


def test_who_asked_and_was_not_read_yet_does_not_rest(running: Service, callers: list[socket.socket]) -> None:
    time.sleep(RESTED + 0.1)
    running.process.send_signal(signal.SIGSTOP)
    try:
        connect(callers[-1], running)
        for caller in callers:
            caller.sendall(HEALTH)
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert all(b"200 OK" in caller.recv(4096) for caller in callers)


def test_a_newcomer_may_ask_for_another_protocol(running: Service, callers: list[socket.socket]) -> None:
    """His head is read twice."""
    connect(callers[-1], running)
    answer = ask(callers[-1], HEALTH[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert b"200 OK" in answer
    assert b"connection: close" in answer


def test_who_takes_a_long_answer_does_not_rest_and_others_go(running: Service) -> None:
    """He is the one who asked first, and none goes for him again and again."""
    long = json.dumps({"inputs": [[0.0] * 4] * 20, "samples": 8000, "return_samples": True}).encode()
    head = b"POST /uncertainty HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(long)
    with ExitStack() as stack:
        taker, *newcomers = (stack.enter_context(socket.socket()) for _ in range(4 * MOST))
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connect(taker, running)
        answer = ask(taker, head + long)
        assert b"200 OK" in answer
        for newcomer in newcomers:
            newcomer.settimeout(30)
            connect(newcomer, running)
            assert b"200 OK" in ask(newcomer)
            answer += taker.recv(4096)  # or he would be left
            time.sleep(0.3)
        assert open_sockets(running) <= MOST + 1  # the last newcomer's may be closing
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        while not answer.endswith(b"}"):
            answer += taker.recv(2**20)
        assert len(answer) > 4_000_000


def open_sockets(running: Service) -> int:
    """Connections that have not ended, by the service's own end of them."""
    port = running.client.base_url.port
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
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == f"{room} True"
