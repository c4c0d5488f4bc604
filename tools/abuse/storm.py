"""Send damaged requests to a real server over raw sockets, and check each reply."""

import asyncio
import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tools.abuse.mutations import mutate
from tools.abuse.parsers import BINARY, INFER, PREDICT, SEND, TOY, UNCERTAINTY, WHOLE

REQUEST_TIMEOUT = 5.0
"""The server's request timeout in seconds."""
DEADLINE = REQUEST_TIMEOUT + 10
"""Seconds after which a request counts as hanging, on a busy machine."""
BY_RULE = 504
"""The one allowed status from 500: a passed deadline. Nothing is unloaded here, so that 503 would be a fault."""
BATCH = 1000
METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"get")

Headers = Mapping[bytes, bytes]


class Request(NamedTuple):
    """A valid request."""

    method: bytes
    path: bytes
    headers: Headers = MappingProxyType({})
    body: bytes = b""

    def framed(self) -> bytes:
        """Return the request's bytes, with the right length."""
        lines = [b"%s %s HTTP/1.1" % (self.method, self.path), b"host: toy"]
        lines += [b"%s: %s" % pair for pair in self.headers.items()]
        return b"\r\n".join([*lines, b"content-length: %d" % len(self.body), b"", self.body])


JSON = {b"content-type": b"application/json"}
OCTETS = {b"content-type": b"application/octet-stream", b"inference-header-content-length": b"%d" % len(SEND)}

SEEDS = (
    *(Request(b"POST", b"/predict", JSON, body) for body in PREDICT),
    *(Request(b"POST", b"/uncertainty", JSON, body) for body in UNCERTAINTY),
    *(Request(b"POST", b"/v2/models/toy/infer", JSON, body[1:]) for body in INFER if body.startswith(WHOLE)),
    Request(b"POST", b"/v2/models/toy/versions/1/infer", OCTETS, BINARY[1:]),
    Request(b"POST", b"/v1/models/toy/versions/2/predict", JSON | {b"x-request-timeout": b"2"}, PREDICT[0]),
    Request(b"POST", b"/predict", JSON | {b"content-encoding": b"gzip"}, gzip.compress(PREDICT[0])),
    Request(b"POST", b"/v2/repository/index", JSON, b'{"ready":true}'),
    Request(b"POST", b"/v2/repository/models/toy/load", JSON, b"{}"),
    Request(b"POST", b"/v1/models/toy/versions/1/unload"),
    *(
        Request(b"GET", path, {b"accept": b"*/*", b"if-none-match": b'"x"'})
        for path in (
            *(b"/v1/models", b"/v1/models/toy", b"/v1/models/toy/versions/1", b"/v1/models/toy/examples", b"/v2"),
            *(b"/v2/models/toy/ready", b"/v2/health/ready", b"/models/toy/files", b"/models/toy/plots/a.svg"),
            *(b"/healthz", b"/readyz", b"/ui/style.css", b"/docs", b"/", b"/metrics?x=1"),
        )
    ),
)

CANARIES = (
    Request(b"POST", b"/predict", JSON, json.dumps({"inputs": TOY.rows(3).tolist()}).encode()),
    Request(b"POST", b"/uncertainty", JSON, json.dumps({"inputs": TOY.rows(2).tolist(), "seed": 11}).encode()),
    Request(b"POST", b"/v2/models/toy/infer", OCTETS, SEND + np.arange(4, dtype="<f4").tobytes()),
)


@dataclass
class Outcome:
    """Results of a storm."""

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest request."""

    def note(self, status: str, seconds: float) -> None:
        """Record a reply."""
        self.inputs += 1
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)


class Connection:
    """A connection to the server, opened when needed."""

    def __init__(self, host: str, port: int) -> None:
        """Store the address."""
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, content: bytes) -> tuple[int, bytes, bytes]:
        """Send a request; return status, head and body of the reply."""
        reader, writer = self._streams = self._streams or await asyncio.open_connection(*self._address, limit=2**20)
        try:
            writer.write(content)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        except BaseException:
            await self.close()
            raise
        if fields.get(b"connection") == b"close":
            await self.close()
        return int(head[9:12]), head, body

    async def send_and_read_all(self, content: bytes) -> bytes:
        """Send content on a new connection and close that side; return all bytes received, none after a reset."""
        await self.close()
        reader, writer = self._streams = await asyncio.open_connection(*self._address)
        try:
            writer.write(content)
            writer.write_eof()
            return await reader.read()
        except OSError:
            return b""
        finally:
            await self.close()

    async def close(self) -> None:
        """Abort the connection."""
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None


def damaged(rng: random.Random, key: bytes) -> Request:
    """Return a request with one damaged part, with a valid key."""
    request = rng.choice(SEEDS)
    request = request._replace(headers={**request.headers, b"x-api-key": key})
    part = rng.random()
    if request.body and part < 0.7:
        return request._replace(body=mutate(request.body, rng, [seed.body for seed in SEEDS]))
    if part < 0.85:
        path = b"/" + bytes(mutate(request.path, rng))[1:6000]
        return request._replace(path=b"".join(b"%c" % c if 0x20 < c < 0x7F else b"%%%02x" % c for c in path))
    if part < 0.9:
        return request._replace(method=rng.choice(METHODS))
    name = rng.choice([name for name in request.headers if name != b"x-api-key"] or [b"x-request-timeout"])
    value = mutate(request.headers.get(name, b"1"), rng)[:6000]
    return request._replace(headers={**request.headers, name: value.translate(None, bytes(range(9)) + b"\n\v\f\r\x7f")})


async def storm(host: str, port: int, key: str, inputs: int, seed: int = 0, connections: int = 8) -> Outcome:
    """Send so many requests over so many connections, with canaries before, between and after."""
    outcome = Outcome()
    rng = random.Random(seed)
    expected = await _canaries(host, port, key)
    for start in range(0, inputs, BATCH):
        batch = min(BATCH, inputs - start)
        workers = (
            _send_some(Connection(host, port), outcome, rng, key, batch // connections + (i < batch % connections))
            for i in range(connections)
        )
        await asyncio.gather(*workers)
        if (found := await _canaries(host, port, key)) != expected:
            outcome.faults.append(f"a canary answered otherwise after {start + batch}: {found!r}")
    return outcome


async def _canaries(host: str, port: int, key: str) -> list[tuple[int, bytes]]:
    connection = Connection(host, port)
    answers = []
    for canary in CANARIES:
        headers = {**canary.headers, b"x-api-key": key.encode()}
        status, _, body = await connection.send(canary._replace(headers=headers).framed())
        assert status == 200, body
        answers.append((status, body))
    await connection.close()
    return answers


async def _send_some(connection: Connection, outcome: Outcome, rng: random.Random, key: str, count: int) -> None:
    for _ in range(count):
        content = damaged(rng, key.encode()).framed()
        send = _send_framed
        if rng.random() < 0.1:
            content, send = mutate(content, rng), _send_raw
        started = perf_counter()
        try:
            async with asyncio.timeout(DEADLINE):
                status, fault = await send(connection, content)
        except TimeoutError:
            status, fault = "hangs", f"no answer within {DEADLINE} s"
            await connection.close()
        except (asyncio.IncompleteReadError, OSError) as error:
            status, fault = "no answer", repr(error)
            await connection.close()
        outcome.note(status, perf_counter() - started)
        if fault:
            outcome.faults.append(f"{fault}: {content!r}")
    await connection.close()


async def _send_framed(connection: Connection, content: bytes) -> tuple[str, str]:
    """Send valid HTTP; return the status and the fault, if any."""
    status, head, body = await connection.send(content)
    return str(status), _fault(status, head, body)


async def _send_raw(connection: Connection, content: bytes) -> tuple[str, str]:
    """Send what may be invalid HTTP, which may get no reply."""
    answer = await connection.send_and_read_all(content)
    if not answer:
        return "hung up", ""
    head, _, body = answer.partition(b"\r\n\r\n")
    return f"raw {head[9:12].decode()}", _fault(int(head[9:12]), head, body)


def _fault(status: int, head: bytes, body: bytes) -> str:
    if status >= 500 and status != BY_RULE:
        return f"{status} {body[:300]!r}"
    if status >= 400 and b"application/json" in head and b'"error"' not in body:
        return f"a refusal without form, {status} {body[:300]!r}"
    if not 200 <= status < 505:
        return f"status {status}"
    return ""
