"""The operations of inference, and how the body of one is read, decompressed and decoded on ASGI."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from service.access.calls import ASGICall, Call, Reply
from service.access.compression import decompress
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.inference import Request
from service.rows.json_chunks import CHUNK_BYTES
from service.turn import Encode, Turns

INFLATE_SECONDS_PER_BYTE = 2e-9
"""Seconds per decompressed byte."""


class Operation(ABC):
    """A kind of inference over HTTP, such as `/predict`."""

    route: str
    """The route in metrics, the same for all models."""

    @abstractmethod
    def check(self, call: Call) -> None:
        """Check the head of a call. Raises InvalidInput or UnsupportedMediaType."""

    @abstractmethod
    def decode_seconds(self, call: Call, body: bytes) -> float:
        """Return the estimated time of decoding a body."""

    @abstractmethod
    def decode(self, call: Call, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:
        """Return the request in a body, and the encoder of its answer. Raises the errors of `service.errors`."""


async def answer_body(call: ASGICall, operation: Operation, engine: Engine, turns: Turns, settings: Settings) -> Reply:
    """Read the body of a call, and return the answer to it.

    Raises the errors of `ASGICall.body`, `decompress`, `Turns.answer` and the operation.
    """
    max_bytes, allowed = settings.max_body_bytes, settings.request_timeout
    body = await call.body(max_bytes, call.seconds_left(allowed))
    encoding = _find_encoding(call.headers)

    def estimate(content: bytes) -> float:
        return operation.decode_seconds(call, content) if len(content) > CHUNK_BYTES else 0.0

    def decode_body(job: Job) -> tuple[Request, Encode[Reply]]:
        content = body
        if encoding:
            content = decompress(body, encoding, max_bytes)
            job.watch.lap("parse")
            job.pause(estimate(content))
        return operation.decode(call, engine, content, job)

    seconds = max_bytes * INFLATE_SECONDS_PER_BYTE if encoding else estimate(body)
    return await turns.answer(call, decode_body, seconds, call.seconds_left(allowed), call.gone)


def _find_encoding(headers: Mapping[bytes, bytes]) -> str:
    """Return the body's content-encoding, empty for an uncompressed body."""
    encoding = headers.get(b"content-encoding")
    return encoding.decode("latin-1").strip().lower() if encoding and encoding != b"identity" else ""
