"""What goes over the wire: an answer in one piece, and nothing lost of those without a body."""

import asyncio
import re
import socket
from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from uvicorn.server import ServerState

from service.http.connection import Connection
from tests.conftest import PATIENCE, answer_lifespan, running_server
from tests.service.sockets import said_to

BODY = b'{"inputs": [[0, 0, 0, 0]]}'
ASK = b"POST /predict HTTP/1.1\r\nhost: toy\r\ncontent-length: %d\r\n" % len(BODY)


class Written(asyncio.Transport):
    """Notes what is written, a write at a time."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__({"socket": connected})
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return False


REQUEST = b"%s /%s HTTP/1.1\r\nhost: toy\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def pieces_app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answers with the path's letters, each a piece of the body, once all of the request has come."""
    while (await receive()).get("more_body"):
        pass
    letters = scope["path"][1:].encode()
    headers = [(b"content-length", b"2")] if len(letters) == 1 else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for letter in letters:
        await send({"type": "http.response.body", "body": bytes([letter]) * 2, "more_body": len(letters) > 1})
    if len(letters) > 1:
        await send({"type": "http.response.body"})


def written(*pieces: bytes) -> list[bytes]:
    """What is written to a connection, a write at a time, while the app answers a request that comes in pieces."""

    async def answer() -> list[bytes]:
        with socket.socket() as unconnected:
            transport, state = Written(unconnected), ServerState()
            connection = Connection(SimpleNamespace(loaded_app=pieces_app), state, {})
            connection.connection_made(transport)
            for piece in pieces:
                connection.data_received(piece)
                for _ in range(3):  # turns of the loop: the bytes are parsed, the application runs
                    await asyncio.sleep(0)
            while state.tasks:  # noqa: ASYNC110 - nothing sets an event at the end of a task
                await asyncio.sleep(0)
            connection.connection_lost(None)
        return transport.pieces

    return asyncio.run(answer())


def test_head_and_body_are_one_write() -> None:
    assert written(REQUEST % (b"GET", b"a"), REQUEST % (b"GET", b"a")) == [HEAD + b"aa", HEAD + b"aa"]


def test_what_streams_goes_out_as_it_comes() -> None:
    assert written(REQUEST % (b"GET", b"ab")) == [CHUNKED + b"2\r\naa\r\n", b"2\r\nbb\r\n", b"0\r\n\r\n"]


def test_a_head_alone_is_sent_at_the_end() -> None:
    assert written(REQUEST % (b"HEAD", b"a")) == [HEAD]


def test_a_client_that_expects_100_continue_gets_it_at_once() -> None:
    head = b"POST /a HTTP/1.1\r\nhost: toy\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    assert written(head, b"{}") == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"aa"]


# over a socket


async def odd_app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answers that the service itself does not give."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    length = [(b"content-length", b"0")] if scope["path"] == "/empty" else []
    if scope["path"] == "/split":
        length = [(b"x", b"a\r\nset-cookie: b")]
    status = {"/no-content": 204, "/not-modified": 304}.get(scope["path"], 200)
    await send({"type": "http.response.start", "status": status, "headers": length})
    if scope["path"] == "/breaks":
        raise RuntimeError("after the head")
    if scope["path"] == "/chunks":
        for piece in (b"a", b"HTTP/1.1 200 OK\r\n\r\n", b"b"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def odd() -> Iterator[httpx.Client]:
    with running_server(odd_app) as client:
        yield client


@pytest.mark.parametrize(("path", "status"), [("/no-content", 204), ("/not-modified", 304), ("/empty", 200)])
def test_answers_without_a_body_arrive(odd: httpx.Client, path: str, status: int) -> None:
    for _ in range(3):  # over one connection
        answer = odd.get(path)
        assert (answer.status_code, answer.content) == (status, b"")


def test_an_answer_in_chunks_arrives_whole_whatever_they_look_like(odd: httpx.Client) -> None:
    assert odd.get("/chunks").content == b"aHTTP/1.1 200 OK\r\n\r\nb"


def test_an_answer_to_http_1_0_ends_with_the_connection(odd: httpx.Client) -> None:
    """It has no chunks."""
    answer = said_to(odd, b"GET /chunks HTTP/1.0\r\n\r\n")
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\naHTTP/1.1 200 OK\r\n\r\nb")


def test_an_answer_that_breaks_off_ends_the_connection(odd: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        odd.get("/breaks")
    assert odd.get("/empty").status_code == 200


def test_a_header_with_a_line_break_is_not_sent(odd: httpx.Client) -> None:
    refused = odd.get("/split")
    assert refused.status_code == 500
    assert "set-cookie" not in refused.headers


def talk(client: httpx.Client, *pieces: bytes, until: bytes) -> bytes:
    """Send pieces, each once something has come in answer to the one before; what came, once it ends so."""
    address = (client.base_url.host, client.base_url.port or 80)
    received = b""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        for number, piece in enumerate(pieces):
            connection.sendall(piece)
            last = number == len(pieces) - 1
            while not (received.endswith(until) if last else received):
                more = connection.recv(65536)
                assert more, received
                received += more
    return received


def test_a_head_request_is_answered(client: httpx.Client) -> None:
    answer = talk(client, b"HEAD /openapi.json HTTP/1.1\r\nhost: toy\r\n\r\n", until=b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 ")


def test_a_client_that_expects_100_continue_gets_it(client: httpx.Client) -> None:
    answer = talk(client, ASK + b"expect: 100-continue\r\n\r\n", BODY, until=b"}")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_requests_sent_without_waiting_are_answered_in_order(client: httpx.Client) -> None:
    ids = [b"%04d" % i for i in range(50)]
    requests = [ASK + b"x-request-id: " + number + b"\r\n\r\n" + BODY for number in ids]
    requests.append(b"GET /healthz HTTP/1.1\r\nhost: toy\r\nconnection: close\r\n\r\n")
    answer = talk(client, b"".join(requests), until=client.get("/healthz").content)
    assert re.findall(rb"x-request-id: (\d{4})\r", answer) == ids
    assert answer.count(b"HTTP/1.1 200 OK") == len(ids) + 1


def test_long_requests_sent_without_waiting_are_answered_in_order(client: httpx.Client) -> None:
    """They are read in slices, which fall anywhere."""
    rows = [50 + number for number in range(40)]
    asked = b""
    for count in rows:
        body = orjson.dumps({"inputs": [[0.125] * 4] * count})
        asked += b"POST /predict HTTP/1.1\r\nhost: toy\r\ncontent-length: %d\r\n" % len(body)
        asked += b"connection: close\r\n\r\n" * (count == rows[-1]) + b"\r\n" * (count != rows[-1]) + body
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), PATIENCE) as connection:
        connection.sendall(asked)
        said = b"".join(iter(lambda: connection.recv(2**16), b""))
    bodies = [part.partition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [len(orjson.loads(body)["predictions"]) for body in bodies] == rows


def test_a_connection_that_is_to_be_closed_is_answered_first(client: httpx.Client) -> None:
    answer = talk(client, ASK + b"connection: close\r\n\r\n" + BODY, until=b"}")
    assert b"200 OK" in answer
    assert b"connection: close" in answer


NO_HTTP = b"GET / HTTP/9.9\r\n\r\n"


def test_what_is_no_http_is_refused_in_the_form_of_errors(client: httpx.Client) -> None:
    head, _, content = talk(client, NO_HTTP, until=b"}}").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    assert orjson.loads(content)["error"]["code"] == "malformed_head"


def test_what_follows_a_request_and_is_no_http_is_not_taken_for_its_answer(client: httpx.Client) -> None:
    """It was: 400 at once, and no answer to the request."""
    answer = talk(client, ASK + b"\r\n" + BODY + NO_HTTP, until=b"}")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_broken_body_is_refused_at_once(client: httpx.Client) -> None:
    chunked = b"POST /predict HTTP/1.1\r\nhost: toy\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n"
    assert talk(client, chunked, until=b"}}").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/docs", "/metrics", "/healthz", "/readyz"])
def test_what_may_be_got_may_be_looked_at(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == client.get(path).headers["content-type"]
