"""More connections than a worker keeps: nobody who asked goes without an answer, and files can still be opened."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.http.crowding import OTHER_FILES, RESTED
from tests.service.processes import Service, service

MOST = 4
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
QUESTION = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service that keeps four connections, none of which is open."""
    with service(tmp_path, DROPSERVE_MAX_CONNECTIONS=str(MOST)) as running:
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


@pytest.mark.parametrize(("hard", "room"), [(10_000, 4096), (1024, 1024 - OTHER_FILES), (300, 150)])
def test_connections_leave_room_for_files(hard: int, room: int) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard}))
from service.http.crowding import room_for
print(room_for(4096), resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(4096, {hard}))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == f"{room} True"
