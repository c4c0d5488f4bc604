"""A head that was parsed before is found by its bytes; requests are the same as if each head were parsed."""

import random
import socket
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx
import pytest

from service.http.heads import MAX_KNOWN, MAX_KNOWN_BYTES, MAX_KNOWN_HEADERS, Head, KnownHeads
from tests.conftest import PATIENCE, answer_lifespan, running_server


async def echo(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer with the path, a header and the body of the request."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    body = b""
    while (message := await receive()).get("more_body") or message["body"]:
        body += message["body"]
        if not message.get("more_body"):
            break
    content = b"<%s %s %s>" % (scope["path"].encode(), dict(scope["headers"]).get(b"x", b""), body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with running_server(echo) as client:
        yield client


def post(body: bytes, *lines: bytes, path: bytes = b"/a") -> bytes:
    head = b"\r\n".join([b"POST %s HTTP/1.1" % path, b"host: toy", b"content-length: %d" % len(body), *lines])
    return head + b"\r\n\r\n" + body


CHUNKED = b"POST /c HTTP/1.1\r\nhost: toy\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
GET = b"GET /g HTTP/1.1\r\nhost: toy\r\n\r\n"
STREAM = [
    (post(b"one"), b"</a  one>"),
    (post(b"two"), b"</a  two>"),
    (post(b"four"), b"</a  four>"),
    (post(b"\r\n\r\n" + GET), b"</a  \r\n\r\n" + GET + b">"),  # a body with the end of a head in it
    (CHUNKED, b"</c  abc>"),
    (post(b"six", b"x: 1"), b"</a 1 six>"),
    (post(b"six", b"x: 2"), b"</a 2 six>"),
    (GET, b"</g  >"),
    (post(b""), b"</a  >"),
    (post(b"ten", path=b"/b"), b"</b  ten>"),
]


def bodies(received: bytes) -> list[bytes]:
    """Return the bodies of these answers."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        found.append(rest[:length])
        received = rest[length:]
    return found


def talk(client: httpx.Client, pieces: list[bytes], answers: int) -> list[bytes]:
    """Send pieces over one connection, and return the bodies of so many answers."""
    received = b""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        while received.count(b"HTTP/1.1 200") < answers or not received.endswith(b">"):
            more = connection.recv(65536)
            assert more, received
            received += more
    return bodies(received)


def test_requests_with_the_same_head_keep_their_own_bodies(server: httpx.Client) -> None:
    with socket.create_connection((server.base_url.host, server.base_url.port or 80), PATIENCE) as connection:
        for request, answer in 3 * STREAM:  # each after the answer to the one before
            connection.sendall(request)
            received = b""
            while not received.endswith(answer):
                more = connection.recv(65536)
                assert more, received
                received += more
            assert bodies(received) == [answer]


@pytest.mark.parametrize("seed", range(20))
def test_requests_are_the_same_however_their_bytes_arrive(server: httpx.Client, seed: int) -> None:
    chosen = random.Random(seed)
    requests = [chosen.choice(STREAM) for _ in range(12)]
    whole = b"".join(request for request, _ in requests)
    cuts = sorted(chosen.sample(range(1, len(whole)), chosen.randrange(1, 30)))
    pieces = [whole[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert talk(server, pieces, len(requests)) == [answer for _, answer in requests]


def test_the_rest_of_a_known_request_is_awaited(server: httpx.Client) -> None:
    request = post(b"one")
    for split in range(1, len(request)):
        assert talk(server, [request, request[:split], request[split:], request], 3) == [b"</a  one>"] * 3


def known(head: bytes, *lines: bytes) -> Head:
    """Return the head of these lines."""
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    return Head("POST", ("/a", "/a", b""), headers, "1.1")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", b"content-length: 3"),  # the body is not complete
        (b"POST /a HTTP/1.1\r\ncontent-length: 3\n\nabc", b"content-length: 3"),  # the head ends otherwise
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"transfer-encoding: chunked"),
        (b"GET /a HTTP/1.1\r\n\r\n", b"host: toy"),
        (b"POST /a HTTP/1.1\r\nx: %s\r\ncontent-length: 1\r\n\r\na" % bytes(MAX_KNOWN_BYTES), b"content-length: 1"),
    ],
)
def test_only_heads_that_say_where_the_request_ends_are_remembered(data: bytes, line: bytes) -> None:
    heads = KnownHeads()
    heads.add(data, known(data, line))
    assert heads.find(data) is None


def test_a_head_of_many_headers_is_not_remembered() -> None:
    heads, lines = KnownHeads(), [b"content-length: 1", *[b"a: b"] * MAX_KNOWN_HEADERS]
    data = b"POST /a HTTP/1.1\r\n%s\r\n\r\na" % b"\r\n".join(lines)
    heads.add(data, known(data, *lines))
    assert heads.find(data) is None


def test_as_many_heads_are_remembered_as_may_be() -> None:
    heads = KnownHeads()
    for number in range(3 * MAX_KNOWN):
        data = b"POST /%d HTTP/1.1\r\ncontent-length: 1\r\n\r\n" % number
        heads.add(data + b"a", known(data, b"content-length: 1"))
        assert len(heads._heads) <= MAX_KNOWN
    found = heads.find(data + b"b")
    assert found
    assert found[1] == b"b"
