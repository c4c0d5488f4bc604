"""A reference of what is possible: requests that arrive in one turn of the event loop are answered by one run.

It has no limits, timeouts, routes or metrics, and answers a turn with 422 as a whole if any of its requests is wrong.
"""

import asyncio
from typing import cast

import httptools
import msgspec
import numpy as np
import orjson
import uvloop

from benchmarks.serving.peers.task import HOST, PORT, Network

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %016x\r\ncontent-length: %d\r\n\r\n"
REFUSED = b"HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 0\r\n\r\n"


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request's body."""

    inputs: list[list[float]]


class Turn:
    """The requests that arrived while the loop was busy."""

    def __init__(self, network: Network) -> None:
        """Answer with this network."""
        self._network = network
        self._decoder = msgspec.json.Decoder(Body)
        self._answered = 0
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, body: bytes) -> None:
        """Answer a request at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append((transport, body))

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            answers = self._answer([body for _, body in waiting])
        except (msgspec.DecodeError, ValueError):
            answers = [REFUSED] * len(waiting)
        for (transport, _), answer in zip(waiting, answers, strict=True):
            transport.write(answer)

    def _answer(self, bodies: list[bytes]) -> list[bytes]:
        """Return an answer for each body. Raises DecodeError or ValueError if any is wrong."""
        inputs = [self._decoder.decode(body).inputs for body in bodies]
        rows = np.array([row for some in inputs for row in some], dtype=np.float32)
        if rows.shape[1:] != (self._network.features,) or not np.isfinite(rows).all():
            raise ValueError("expected rows of finite numbers")
        computed = self._network(rows)  # (rows, classes)
        labels, probabilities = computed.argmax(axis=1).tolist(), computed.tolist()
        answers, start = [], 0
        for some in inputs:
            own = slice(start, start + len(some))
            body = orjson.dumps({"labels": labels[own], "probabilities": probabilities[own]})
            self._answered += 1
            answers.append(HEAD % (self._answered, len(body)) + body)
            start += len(some)
        return answers


class Connection(asyncio.Protocol):
    """A connection; every request is a prediction."""

    def __init__(self, turn: Turn) -> None:
        """Let the turn answer its requests."""
        self._turn = turn
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._body = b""

    def on_body(self, body: bytes) -> None:
        """Keep a part of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """End it."""
        self._turn.add(self._transport, self._body)


async def main() -> None:
    """Serve until the process is stopped."""
    turn = Turn(Network())
    server = await asyncio.get_running_loop().create_server(lambda: Connection(turn), HOST, PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
