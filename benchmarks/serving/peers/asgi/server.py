"""No framework at all, as a reference: what uvicorn can carry, and the least code that answers the task.

Nothing is checked beyond types, nothing counted, nothing limited.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import uvicorn

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network

Message = dict[str, Any]


class Asked(msgspec.Struct):
    """A request's body."""

    inputs: list[list[float]]


network = Network()
decoder = msgspec.json.Decoder(Asked)
encoder = msgspec.json.Encoder()
constant = encoder.encode({"probabilities": [[1 / network.classes] * network.classes]})


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """`/constant` answers the same to everybody, any other path what the network says."""
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
    """A request's body → the reply's."""
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
