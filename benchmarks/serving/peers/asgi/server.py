"""A reference without a framework: uvicorn's capacity, and the least code for the task.

It validates only types, and has no metrics or limits.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import uvicorn

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network

Message = dict[str, Any]


class Body(msgspec.Struct):
    """A request's body."""

    inputs: list[list[float]]


network = Network()
decoder = msgspec.json.Decoder(Body)
encoder = msgspec.json.Encoder()
constant = encoder.encode({"probabilities": [[1 / network.classes] * network.classes]})


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Reply with a constant on `/constant`, and with the network's answer on any other path."""
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    content = constant if scope["path"] == "/constant" else answer(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def answer(body: bytes) -> bytes:
    """Return the reply's body for a request's."""
    rows = np.array(decoder.decode(body).inputs, dtype=np.float32)
    return encoder.encode({"probabilities": network(rows).tolist()})


if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.serving.peers.asgi.server:app",
        host=HOST,
        port=PORT,
        workers=WORKERS,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
