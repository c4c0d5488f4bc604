"""Callers who are slow, and callers who vanish: how long the service keeps each, and what others notice."""

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
from tools.soak.overload import DEADLINE, SHORT_DEADLINE, SLACK, canary_service
from tools.soak.questions import ASKED, CANARY, ROWS
from tools.soak.report import Report
from tools.soak.traffic import traffic

RATE = 30.0
IDLE = 5.0
"""Seconds that uvicorn keeps a connection on which nothing is asked."""
PATH, _ = ASKED["predict"]
SMALL = "small"
"""A network whose ensemble costs nothing, so that a long answer does not."""
BODY = 1000
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n".encode()
WHOLE = HEAD + b" " * BODY
NOT_FOUND = HEAD.replace(CANARY.encode(), b"nobody")
TOO_LARGE = HEAD.replace(b": 1000", b": %d" % (Settings().max_body_bytes + 1))
NO_JSON = HEAD.replace(b"application/json", b"text/plain")
BROKEN = HEAD.replace(b"HTTP/1.1", b"HTTP/9.9")


Call = Callable[[socket.socket], bytes]
"""Does something to a connection, and returns what was heard on it."""


def say(*pieces: bytes, pause: float = 0.0, tail: bytes = b"") -> Call:
    """These pieces; then the tail, a byte a pause, until the service has had enough."""

    def call(connection: socket.socket) -> bytes:
        for piece in pieces:
            connection.sendall(piece)
        heard = b""
        with contextlib.suppress(ConnectionError):
            for byte in tail:
                if select([connection], [], [], pause)[0]:
                    heard += (piece := connection.recv(2**16))
                    if not piece:
                        return heard
                connection.sendall(bytes([byte]))
        return heard + _listen(connection)

    return call


def half_close(content: bytes) -> Call:
    """Say this, and that nothing follows."""

    def call(connection: socket.socket) -> bytes:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return _listen(connection)

    return call


def reset(content: bytes) -> Call:
    """Say this, and vanish as a machine does that loses its power and comes back."""

    def call(connection: socket.socket) -> bytes:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return b""

    return call


def ask_and_not_read(connection: socket.socket) -> bytes:
    """Ask for more than the kernel takes for a caller who does not read, look elsewhere, and see what came of it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    path = f"/v1/models/{SMALL}/uncertainty"
    body = orjson.dumps({"inputs": ROWS * 2, "samples": 10_000, "return_samples": True})
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(20):
        connection.sendall(request)
        if connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200":
            break
        connection.recv(2**16)  # a refusal, because of the others: he asks again
        sleep(0.2)
    sleep(3 * IDLE)
    return _listen(connection)


def _listen(connection: socket.socket) -> bytes:
    """To the end."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(2**16):
            heard += piece
    return heard


class Caller(NamedTuple):
    """What one does, and when the service must have let go of him, in seconds."""

    name: str
    call: Call
    status: int | None
    """What he is told; None: nothing."""
    bound: float


CALLERS = [
    Caller("say nothing", say(), None, IDLE),
    Caller("send a head a byte a second", say(tail=HEAD, pause=1.0), 408, IDLE),
    Caller("send half a head", say(HEAD[:40]), 408, IDLE),
    Caller("send a body a byte a second", say(HEAD, tail=b" " * BODY, pause=1.0), 408, DEADLINE),
    Caller("send half a body", say(HEAD + b" " * 500), 408, DEADLINE),
    Caller("go on with a body that was refused, 404", say(NOT_FOUND, tail=b" " * 100, pause=0.5), 404, IDLE),
    Caller("go on with a body that was refused, 413", say(TOO_LARGE, tail=b" " * 100, pause=0.5), 413, IDLE),
    Caller("go on with a body that was refused, 415", say(NO_JSON, tail=b" " * 100, pause=0.5), 415, IDLE),
    Caller("do not read a long answer", ask_and_not_read, 200, 4 * IDLE),
    Caller("speak no HTTP", say(BROKEN), 400, 0.0),
    Caller("close their side within a head", half_close(HEAD[:40]), None, 0.0),
    Caller("close their side within a body", half_close(HEAD + b" " * 500), None, 0.0),
    Caller("vanish within a head", reset(HEAD[:40]), None, 0.0),
    Caller("vanish within a body", reset(HEAD + b" " * 500), None, 0.0),
    Caller("vanish before their answer", reset(WHOLE), None, 0.0),
]


def callers(folder: Path, times: float) -> Report:
    """So many of each kind at once, while others ask."""
    ToyNet().publish(folder / "models", name=SMALL)
    with canary_service(folder, SHORT_DEADLINE) as (running, url, questions):
        address = (running.client.base_url.host, running.client.base_url.port or 0)
        before = _connections(worker_pids(running))
        with traffic(url, questions, RATE) as outcomes, ThreadPoolExecutor(64) as pool:
            futures = [(caller, pool.submit(_call, address, caller)) for caller in CALLERS for _ in range(round(times))]
            found = [(caller, *future.result()) for caller, future in futures]
        sleep(2 * IDLE)  # in which the connections of the others end too
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
            "each is told what he must be": all(line["as_told"] for line in lines),
            "all others are answered, or refused by rule": outcomes.unruly == 0,
            "every answer to them is right to the byte": outcomes.wrong == 0,
            "no connection stays open": left <= 0,
        },
        {"each is let go within his time": all(line["longest_s"] < line["bound_s"] for line in lines)},
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
    """The seconds until the service let go of him, and all that it said."""
    begun = monotonic()
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        heard = caller.call(connection)
    return monotonic() - begun, heard


def _status(answer: bytes) -> int | None:
    return int(answer.split(b" ", 2)[1]) if answer else None


def _is_in_form(answer: bytes) -> bool:
    """A refusal; or what came of an answer that was too long for its caller."""
    head, _, content = answer.partition(b"\r\n\r\n")
    if b"200 OK" in head:
        return len(content) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return not answer or b'{"error":{"code":' in content


def _connections(processes: set[int]) -> int:
    """Sockets that these processes have open."""
    files = [file for process in processes for file in Path(f"/proc/{process}/fd").iterdir()]
    return sum(file.readlink().name.startswith("socket:") for file in files if file.is_symlink())
