"""What the server of uvicorn, whichever version is installed, has of a connection, and a connection of it."""

import asyncio
import socket
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
import uvicorn

from service.http.connection import Connection, Limits
from service.http.draining import Drain
from tests.conftest import PATIENCE, wait_until

REQUEST = b"GET /%s HTTP/1.1\r\nhost: toy\r\n\r\n"


class App:
    """An application whose lifespan fills the state of the connections.

    The answer to `/held` begins on release, and the second half of that to `/streamed` follows then.
    """

    def __init__(self, limits: Limits) -> None:
        self.drain = Drain()
        self.states: list[MutableMapping[str, Any]] = []
        self.gone = 0
        self._limits = limits
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"].update(limits=self._limits, drain=self.drain)
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        self.states.append(scope["state"])
        if scope["path"] == "/held":
            await asyncio.to_thread(self._released.wait)
        body = bytes(2**15) if scope["path"] == "/long" else b"ok"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        if scope["path"] == "/streamed":
            await send({"type": "http.response.body", "body": b"o", "more_body": True})
            await asyncio.to_thread(self._released.wait)
            body = b"k"
        await send({"type": "http.response.body", "body": body})
        self.gone += (await receive())["type"] == "http.disconnect"


@contextmanager
def served(app: App) -> Iterator[uvicorn.Server]:
    """A server of the application, stopped in the end."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=Connection, log_config=None))
    listening = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield server
    finally:
        app.release()
        server.should_exit = True
        thread.join()


@pytest.fixture
def app() -> App:
    return App(Limits())


@contextmanager
def connection_to(server: uvicorn.Server) -> Iterator[socket.socket]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, PATIENCE) as connection:
        yield connection


def test_the_state_of_the_server_is_kept(app: App) -> None:
    with served(app) as server, connection_to(server) as connection:
        state = server.server_state
        wait_until(lambda: len(state.connections) == 1)
        assert isinstance(next(iter(state.connections)), Connection)
        connection.sendall(REQUEST % b"held")
        wait_until(lambda: len(state.tasks) == 1)
        app.release()
        answer = connection.recv(2**16)
        assert b"\r\ndate: " in answer
        assert answer.endswith(b"\r\n\r\nok")
        wait_until(lambda: not state.tasks)
        assert state.total_requests == 1
        connection.close()
        wait_until(lambda: not state.connections)


def test_the_state_of_the_application_is_that_of_its_lifespan(app: App) -> None:
    with served(app) as server, connection_to(server) as connection:
        connection.sendall(REQUEST % b"")
        assert connection.recv(2**16)
    assert app.states[0]["drain"] is app.drain
    assert app.states[0] is not server.lifespan.state


def test_the_limits_are_those_of_the_lifespan() -> None:
    app = App(Limits(connections=1))
    with served(app) as server, connection_to(server) as first, connection_to(server) as second:
        for connection, ends in ((first, False), (second, True)):
            connection.sendall(REQUEST % b"")
            assert (b"\r\nconnection: close\r\n" in connection.recv(2**16)) is ends
        assert second.recv(1) == b""


def test_a_server_that_stops_closes_what_is_idle_and_answers_what_has_come(app: App) -> None:
    with served(app) as server, connection_to(server) as idle, connection_to(server) as busy:
        for connection in (idle, busy):
            connection.sendall(REQUEST % b"")
            assert b"connection: close" not in connection.recv(2**16)
        busy.sendall(REQUEST % b"held")
        wait_until(lambda: len(app.states) == 3)
        server.should_exit = True
        assert idle.recv(1) == b""
        app.release()
        assert b"\r\nconnection: close\r\n" in busy.recv(2**16)
        assert busy.recv(1) == b""


def test_a_server_that_stops_closes_a_connection_once_its_answer_in_progress_is_complete() -> None:
    app = App(Limits(idle_timeout=PATIENCE * 2))
    with served(app) as server, connection_to(server) as idle, connection_to(server) as streamed:
        idle.sendall(REQUEST % b"")
        assert idle.recv(2**16).endswith(b"ok")
        streamed.sendall(REQUEST % b"streamed")
        assert streamed.recv(2**16).endswith(b"o")
        server.should_exit = True
        assert idle.recv(1) == b""
        app.release()
        assert b"".join(iter(lambda: streamed.recv(2**16), b"")) == b"k"


def test_a_connection_whose_client_never_reads_the_end_of_an_answer_is_closed() -> None:
    app = App(Limits(idle_timeout=0.5))
    with served(app) as server, connection_to(server) as connection:
        wait_until(lambda: len(server.server_state.connections) == 1)
        transport = next(iter(server.server_state.connections)).transport
        answers = count(1)
        while not transport.get_write_buffer_size():  # until the kernel's buffers are full
            connection.sendall(REQUEST % b"long")
            wait_until(partial(_has_answered, server, next(answers)))
        wait_until(lambda: not server.server_state.connections)


def _has_answered(server: uvicorn.Server, requests: int) -> bool:
    return server.server_state.total_requests == requests


def test_a_drain_closes_with_the_answer_to_the_last_request_that_has_come(app: App) -> None:
    with served(app) as server, connection_to(server) as connection:
        connection.sendall(REQUEST % b"held" + REQUEST % b"" * 2)
        wait_until(lambda: len(app.states) == 1)
        app.drain.closing = True
        app.release()
        answers = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert [b"connection: close" in answer for answer in answers.split(b"HTTP/1.1")[1:]] == [False, False, True]


def test_a_drain_does_not_mind_a_client_that_is_gone(app: App) -> None:
    with served(app) as server:
        with connection_to(server) as connection:
            connection.sendall(REQUEST % b"held")
            wait_until(lambda: len(app.states) == 1)
        wait_until(lambda: not server.server_state.connections)
        app.drain.closing = True
        app.release()
        wait_until(lambda: app.gone == 1)
