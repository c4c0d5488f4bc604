"""Slow and vanishing callers: how long the service keeps each, and the effect on other requests."""

import contextlib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select
from time import monotonic, sleep
from typing import Any, NamedTuple

import orjson

from service import Settings
from tests.conftest import PATIENCE
from tests.service.processes import worker_pids
from tests.toy import ToyNet
from tools.soak.canary import CANARY, CASES, ROWS
from tools.soak.overload import DEADLINE, SHORT_DEADLINE, SLACK, canary_service
from tools.soak.report import Report
from tools.soak.traffic import traffic

RATE = 30.0
IDLE = 5.0
"""The idle timeout in seconds."""
PATH, _ = CASES["predict"]
SMALL = "small"
"""A network with a cheap ensemble, so that a long answer is cheap, too."""
BODY = 1000
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n".encode()
WHOLE = HEAD + b" " * BODY
NOT_FOUND = HEAD.replace(CANARY.encode(), b"nobody")
TOO_LARGE = HEAD.replace(b": 1000", b": %d" % (Settings().max_body_bytes + 1))
NO_JSON = HEAD.replace(b"application/json", b"text/plain")
BROKEN = HEAD.replace(b"HTTP/1.1", b"HTTP/9.9")


Call = Callable[[socket.socket], bytes]
"""Use a connection, and return the bytes received on it."""


def send(*pieces: bytes, pause: float = 0.0, tail: bytes = b"") -> Call:
    """Return a caller that sends these pieces, and then the tail, a byte a pause, until the service closes."""

    def call(connection: socket.socket) -> bytes:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        with contextlib.suppress(ConnectionError):
            for byte in tail:
                if select([connection], [], [], pause)[0]:
                    received += (piece := connection.recv(2**16))
                    if not piece:
                        return received
                connection.sendall(bytes([byte]))
        return received + _read_all(connection)

    return call


def half_close(content: bytes) -> Call:
    """Return a caller that sends content and closes its side."""

    def call(connection: socket.socket) -> bytes:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return _read_all(connection)

    return call


def reset(content: bytes) -> Call:
    """Return a caller that sends content and resets the connection."""

    def call(connection: socket.socket) -> bytes:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return b""

    return call


def never_read(connection: socket.socket) -> bytes:
    """Request more than the kernel buffers, pause, and read the rest."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    path = f"/v1/models/{SMALL}/uncertainty"
    body = orjson.dumps({"inputs": ROWS * 2, "samples": 10_000, "return_samples": True})
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(20):
        connection.sendall(request)
        if connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200":
            break
        connection.recv(2**16)  # a refusal because of other requests: try again
        sleep(0.2)
    sleep(3 * IDLE)
    return _read_all(connection)


def _read_all(connection: socket.socket) -> bytes:
    """Read to the end."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(2**16):
            received += piece
    return received


class Caller(NamedTuple):
    """A caller, the expected status, and the time in seconds after which its connection must be closed."""

    name: str
    call: Call
    status: int | None
    """The expected status; None for no reply."""
    bound: float


CALLERS = [
    Caller("send nothing", send(), None, IDLE),
    Caller("send a head a byte a second", send(tail=HEAD, pause=1.0), 408, IDLE),
    Caller("send half a head", send(HEAD[:40]), 408, IDLE),
    Caller("send a body a byte a second", send(HEAD, tail=b" " * BODY, pause=1.0), 408, DEADLINE),
    Caller("send half a body", send(HEAD + b" " * 500), 408, DEADLINE),
    Caller("go on with a body that was refused, 404", send(NOT_FOUND, tail=b" " * 100, pause=0.5), 404, IDLE),
    Caller("go on with a body that was refused, 413", send(TOO_LARGE, tail=b" " * 100, pause=0.5), 413, IDLE),
    Caller("go on with a body that was refused, 415", send(NO_JSON, tail=b" " * 100, pause=0.5), 415, IDLE),
    Caller("do not read a long answer", never_read, 200, 4 * IDLE),
    Caller("speak no HTTP", send(BROKEN), 400, 0.0),
    Caller("close their side within a head", half_close(HEAD[:40]), None, 0.0),
    Caller("close their side within a body", half_close(HEAD + b" " * 500), None, 0.0),
    Caller("vanish within a head", reset(HEAD[:40]), None, 0.0),
    Caller("vanish within a body", reset(HEAD + b" " * 500), None, 0.0),
    Caller("vanish before their answer", reset(WHOLE), None, 0.0),
]


def callers(folder: Path, times: float) -> Report:
    """Run so many callers of each kind at once, beside other requests."""
    ToyNet().publish(folder / "models", name=SMALL)
    with canary_service(folder, SHORT_DEADLINE) as (running, url, cases):
        address = (running.client.base_url.host, running.client.base_url.port or 0)
        before = _connections(worker_pids(running))
        with traffic(url, cases, RATE) as outcomes, ThreadPoolExecutor(64) as pool:
            futures = [(caller, pool.submit(_call, address, caller)) for caller in CALLERS for _ in range(round(times))]
            found = [(caller, *future.result()) for caller, future in futures]
        sleep(2 * IDLE)  # until the connections of other requests end, too
        left = _connections(worker_pids(running)) - before
    lines = [_line(caller, [each[1:] for each in found if each[0] is caller]) for caller in CALLERS]
    return Report(
        {
            "connections": len(found),
            "lines": lines,
            "others": outcomes.table(),
            "wrong": outcomes.wrong,
            "open_afterwards": left,
            **outcomes.latencies(),
        },
        {
            "each gets the expected status": all(line["as_told"] for line in lines),
            "all other requests are answered, or refused by rule": outcomes.unruly == 0,
            "every answer to them is right to the byte": outcomes.wrong == 0,
            "no connection stays open": left <= 0,
        },
        {"each connection is closed in time": all(line["longest_s"] < line["bound_s"] for line in lines)},
    )


def _line(caller: Caller, ends: list[tuple[float, bytes]]) -> dict[str, Any]:
    statuses = {_status(answer) for _, answer in ends}
    return {
        "callers": caller.name,
        "told": ", ".join(str(status or "nothing") for status in sorted(statuses, key=str)),
        "as_told": statuses == {caller.status} and all(_is_in_form(answer) for _, answer in ends),
        "longest_s": max(seconds for seconds, _ in ends),
        "bound_s": caller.bound + SLACK,
    }


def _call(address: tuple[str, int], caller: Caller) -> tuple[float, bytes]:
    """Return the seconds until the connection was closed, and the bytes received."""
    begun = monotonic()
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        received = caller.call(connection)
    return monotonic() - begun, received


def _status(answer: bytes) -> int | None:
    return int(answer.split(b" ", 2)[1]) if answer else None


def _is_in_form(answer: bytes) -> bool:
    """Return whether a reply is a refusal, or a long answer cut off."""
    head, _, content = answer.partition(b"\r\n\r\n")
    if b"200 OK" in head:
        return len(content) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return not answer or b'{"error":{"code":' in content


def _connections(processes: set[int]) -> int:
    """Return the number of open sockets of these processes."""
    files = [file for process in processes for file in Path(f"/proc/{process}/fd").iterdir()]
    return sum(file.readlink().name.startswith("socket:") for file in files if file.is_symlink())
