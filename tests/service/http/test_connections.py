"""What is said on a connection, and when: over raw sockets, to real servers."""

import asyncio
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import pytest
import trustme

from service.http.connection import MAX_HEAD_BYTES, SLICE_BYTES
from tests.conftest import Serve, running_server, wait_until
from tests.service.processes import service
from tests.service.sockets import connected, said_to, unsent_bytes

KEYS = count()


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", said)]


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: toy", *lines, "", ""]).encode()


# what is no request


RELEASED: defaultdict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
"""Of answers that wait, by the query of their requests: for `/release` with the same."""


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answers each path in a way of its own."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    if scope["path"] == "/reads" and not await comes_whole(receive):
        return
    if scope["path"] == "/release":
        RELEASED[scope["query_string"]].set()
    if scope["path"] == "/held":
        await RELEASED[scope["query_string"]].wait()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    if scope["path"] == "/streams":
        await send({"type": "http.response.body", "body": b"fir", "more_body": True})
        await RELEASED[scope["query_string"]].wait()
        await send({"type": "http.response.body", "body": b"st!"})
    else:
        await send({"type": "http.response.body", "body": b"first!"})


async def comes_whole(receive: Any) -> bool:
    """Whether a body does, and not the end of its connection."""
    while (message := await receive()).get("more_body"):
        pass
    return bool(message["type"] == "http.request")


@pytest.fixture(scope="module", params=["http", "https"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    certificate = None
    if request.param == "https":
        certificate = tmp_path_factory.mktemp("tls") / "both.pem"
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    with running_server(app, certificate=certificate) as client:
        yield client


NO_HTTP = b"\x16\x03\x01 no HTTP\r\n\r\n"
LONG = b"a" * (MAX_HEAD_BYTES + 2 * SLICE_BYTES)
ENDLESS = b"GET / HTTP/1.1\r\nx: " + LONG
CHUNKS = "transfer-encoding: chunked"
BROKEN = b"no number\r\n"
TRAILERS = b"0\r\nx: " + LONG

HELD, STREAMS, AT_ONCE = head("GET", "/held?%d"), head("GET", "/streams?%d"), head("GET", "/?%d")
LAST = head("GET", "/held?%dlast")
"""Held until the answers to two before it have come, and more is read."""


class State(NamedTuple):
    """A moment of a connection."""

    before: bytes
    """What was sent."""
    come: bytes
    """What has come in answer to it."""
    due: list[int]
    """All answers; what ends in 400 ends in 431 where the fault is the length."""


STATES = {
    "no request yet": State(b"", b"", [400]),
    "a request is being answered": State(HELD, b"", [200]),
    "it is being answered, and has begun to be": State(STREAMS, b"fir", [200]),
    "others wait to be answered": State(HELD + HELD + LAST, b"", [200, 200, 200]),
    "it was answered": State(AT_ONCE, b"first!", [200, 400]),
    "its body is to come": State(head("POST", "/reads?%d", CHUNKS), b"", [400]),
    "its body is to come, though it was answered": State(head("POST", "/?%d", CHUNKS), b"first!", [200]),
    "its body is to come, while it is being answered": State(head("POST", "/streams?%d", CHUNKS), b"fir", [200]),
    "its body is to come, while another is being answered": State(
        HELD + head("POST", "/reads?%d", CHUNKS), b"", [200, 400]
    ),
    "its body is to come, while others wait": State(
        HELD + HELD + head("POST", "/reads?%d", CHUNKS), b"", [200, 200, 400]
    ),
}


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_what_is_no_request_is_refused_in_its_turn(odd: httpx.Client, state: str, long: bool) -> None:
    before, come, due = STATES[state]
    faults = (BROKEN, TRAILERS) if "body" in state else (NO_HTTP, ENDLESS)
    check_refusal(answers(odd, before, come, faults[long]), due, long=long)


WAITING = [state for state in STATES if "wait" in state or "another" in state]


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("state", WAITING)
def test_what_is_read_ahead_and_is_no_request_is_refused_in_its_turn(odd: httpx.Client, state: str, long: bool) -> None:
    """It comes with what goes before it, and is read before that is answered."""
    before, _, due = STATES[state]
    fault = (BROKEN, TRAILERS) if "body" in state else (NO_HTTP, ENDLESS)
    check_refusal(answers(odd, before, b"", b"", behind=fault[long]), due, long=long)


def answers(client: httpx.Client, before: bytes, come: bytes, fault: bytes, behind: bytes = b"") -> bytes:
    """All that comes on a connection; answers that are held are released once the fault has reached the server."""
    key = next(KEYS)
    with connected(client) as connection:
        connection.sendall(before.replace(b"%d", b"%d" % key) + behind)
        got = b""
        while come not in got:
            got += connection.recv(2**16)
        connection.sendall(fault)
        wait_until(lambda: unsent_bytes(connection) == 0)
        client.get(f"/release?{key}")
        if b"last" in before:
            while got.count(b"first!") < 2:
                got += connection.recv(2**16)
            client.get(f"/release?{key}last")
        with suppress(ConnectionResetError):
            while more := connection.recv(2**16):
                got += more
    return got


def check_refusal(said: bytes, due: list[int], *, long: bool) -> None:
    refusal = 431 if long else 400
    assert statuses(said) == [refusal if status == 400 else status for status in due]
    assert said.count(b"first!") == due.count(200)
    if due[-1] == 400:
        code = orjson.loads(said.rpartition(b"\r\n\r\n")[2])["error"]["code"]
        assert code == ("head_too_large" if long else "malformed_head")


# hosts


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: toy\r\nconnection: close\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET http://other/healthz HTTP/1.1\r\nhost: toy\r\nconnection: close\r\n\r\n", 200),
        (b"GET http://other HTTP/1.1\r\nhost: toy\r\nconnection: close\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nhost: toy\r\nHost: toy\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\nhost: toy\r\nhost: toy\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /healthz\r\nhost: toy\r\n\r\n", 400),
        (b"CONNECT toy:80 HTTP/1.1\r\nhost: toy\r\n\r\n", 400),
    ],
)
def test_a_request_names_one_host(client: httpx.Client, request_: bytes, status: int) -> None:
    assert statuses(said_to(client, request_)) == [status]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", "host: expected one, found 0"),
        (b"GET /healthz\r\n\r\n", "expected HTTP/1.1 after the path"),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "transfer-encoding: expected none"),
        (b"FETCH / HTTP/1.1\r\nhost: toy\r\n\r\n", "Invalid method"),
        (b"POST / HTTP/1.1\r\nhost: toy\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", "Content-Length"),
    ],
)
def test_the_reason_is_told(client: httpx.Client, request_: bytes, reason: str) -> None:
    said = said_to(client, request_)
    assert statuses(said) == [400]
    assert reason in orjson.loads(said.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_what_is_no_request_is_logged(tmp_path: Path, published: Path) -> None:
    """No application sees it, so nothing else tells of it."""
    with service(tmp_path, DROPSERVE_MODELS=str(published)) as running:
        for request_ in (NO_HTTP, ENDLESS, head("GET", "/healthz") + NO_HTTP):
            said_to(running.client, request_)
        wait_until(lambda: len(running.said("no request")) == 3)
        codes = [line["code"] for line in running.said("no request")]
        assert codes == ["malformed_head", "head_too_large", "malformed_head"]
        assert "Invalid method" in running.said("no request")[0]["reason"]


def test_a_refused_head_request_is_answered_without_a_body(client: httpx.Client) -> None:
    answer = said_to(client, head("HEAD", "/predict", CHUNKS) + BROKEN)
    assert statuses(answer) == [400]
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_knows_no_continue(client: httpx.Client) -> None:
    """It would be taken for the answer."""
    lines = b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    assert statuses(said_to(client, b"POST /predict HTTP/1.0\r\n" + lines)) == [200]


def test_who_says_nothing_goes_and_half_a_head_is_refused(tmp_path: Path) -> None:
    with (
        service(tmp_path, DROPSERVE_IDLE_TIMEOUT="1") as running,
        connected(running.client) as silent,
        connected(running.client) as rests,
        connected(running.client) as slow,
    ):
        rests.sendall(head("GET", "/healthz"))
        slow.sendall(head("GET", "/healthz")[:-2])
        assert silent.recv(2**16) == b""
        assert statuses(rests.recv(2**16)) == [200]
        assert rests.recv(2**16) == b""
        refused = slow.recv(2**16)
        assert statuses(refused) == [408]
        assert b"did not arrive within 1 s" in refused


# another protocol


BODY = b'{"inputs": [[0, 0, 0, 0]]}'
CLOSE = "connection: close"


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "x"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_protocol_upgrade_is_refused_by_an_answer_in_http(client: httpx.Client, protocol: str, apart: bool) -> None:
    """With its body, and so are those behind it."""
    wish = ("connection: upgrade, http2-settings", f"upgrade: {protocol}", "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA")
    requests = [
        head("GET", "/healthz", *wish, "x-request-id: 1"),
        head("POST", "/predict", *wish, f"content-length: {len(BODY)}", "x-request-id: 2") + BODY,
        head("POST", "/predict", *wish, CHUNKS, "x-request-id: 3") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        head("GET", "/healthz", CLOSE, "x-request-id: 4"),
    ]
    said = said_to(client, *requests) if apart else said_to(client, b"".join(requests))
    assert statuses(said) == [200] * 4
    assert re.findall(rb"x-request-id: (\d)", said) == [b"1", b"2", b"3", b"4"]
    assert said.count(b'"predictions"') == 2


# chunks


CHUNKED = head("POST", "/predict", CHUNKS, "content-type: application/json")


@pytest.mark.parametrize("pieces", [(CHUNKED + b"2\r\n{}\r\nFFFFFFFFFFFF\r\n",), (CHUNKED, b"3e9;name=value\r\n")])
def test_a_chunk_that_will_be_too_long_is_refused_before_it_comes(
    serve: Serve, published: Path, pieces: tuple[bytes, ...]
) -> None:
    """Its first byte never comes; without a word of it the service would wait for that."""
    with serve(models=published, max_body_bytes=1000) as client:
        said = said_to(client, *pieces)
        assert statuses(said) == [413]
        whole = (
            CHUNKED[:-2] + b"connection: close\r\n\r\n3e8;name=value\r\n" + BODY.ljust(1000) + b"\r\n0\r\nx: a\r\n\r\n"
        )
        for cut in (1, len(CHUNKED) + 20, len(CHUNKED) + 22, len(CHUNKED) + 30, len(whole) - 12, len(whole) - 3):
            assert statuses(said_to(client, whole[:cut], whole[cut:])) == [200]


def test_the_extension_of_a_chunk_is_bounded(client: httpx.Client) -> None:
    said = said_to(client, CHUNKED + b"2;" + b"a" * 2**17)
    assert statuses(said) == [431]


# methods


def test_whatever_may_be_got_may_be_looked_at_and_a_refusal_says_so(client: httpx.Client) -> None:
    """All that is described, and the pages, which are not."""
    described = client.get("/openapi.json").json()["paths"]
    paths = {
        path: {method.upper() for method in operations if method in ("get", "post", "put", "patch", "delete")}
        for path, operations in described.items()
    }
    paths |= {path: {"GET"} for path in ("/", "/status", "/docs", "/openapi.json", "/ui/style.css", "/v2/")}
    paths["/v1/models/refresh"].add("GET")  # a model may have this name
    assert len(paths) > 30
    for path, methods in paths.items():
        here = path.format(name="toy", version=1, file="none.svg", model_name="toy", model_version=1)
        for method in ("OPTIONS", "DELETE", "PUT"):
            refused = client.request(method, here)
            assert refused.status_code == 405
            assert set(refused.headers["allow"].split(", ")) == methods | ({"HEAD"} if "GET" in methods else set())
            assert b'"error"' in refused.content
            assert refused.headers["content-type"] == "application/json"
        seen = client.head(here)
        assert seen.content == b""
        if "GET" in methods:
            got = client.get(here)
            assert seen.status_code == got.status_code
            assert seen.headers["content-type"] == got.headers["content-type"]
            if path != "/metrics":
                assert seen.headers["content-length"] == got.headers["content-length"]
        else:
            assert (seen.status_code, seen.headers["allow"]) == (405, "POST")


# deadlines


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data came")
def test_a_deadline_runs_from_when_the_request_came(tmp_path: Path, published: Path) -> None:
    """Not from when a busy service came to read it."""
    ask = head("POST", "/predict", "x-request-timeout: 0.1", "content-length: 26") + BODY
    with (
        service(tmp_path, DROPSERVE_MAX_WAIT="60", DROPSERVE_MODELS=str(published)) as running,
        connected(running.client) as connection,
    ):
        running.process.send_signal(signal.SIGSTOP)
        try:
            connection.sendall(ask)
            time.sleep(0.2)  # at least: a longer wait ends the same
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert statuses(connection.recv(2**16)) == [504]


def test_a_deadline_that_passes_within_a_turn_is_kept(client: httpx.Client) -> None:
    ask = head("POST", "/predict", "x-request-timeout: 1e-9", "content-length: 26") + BODY
    with connected(client) as connection:
        for _ in range(3):
            connection.sendall(ask)
            assert statuses(connection.recv(2**16)) == [504]


# lengths


def test_zeros_before_a_content_length_change_nothing(client: httpx.Client) -> None:
    begin = head("POST", "/predict", f"content-length: {'0' * 5000}26", "connection: close")
    assert statuses(said_to(client, begin, BODY)) == [200]
