"""Answer calls for inference whose body was still to be read: read it, decompress and decode it in the same work."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.access.calls import ASGICall, Reply
from service.access.compression import decompress
from service.config import Settings
from service.engine.job import Job
from service.inference import Request
from service.rows.json_chunks import CHUNK_BYTES
from service.turn import Encode, Turns

INFLATE_SECONDS_PER_BYTE = 2e-9
"""Seconds per decompressed byte."""


class Decoder(NamedTuple):
    """The decoder of a body, for one model."""

    decode: Callable[[bytes, Job], tuple[Request, Encode[Reply]]]
    """Return the request and the encoder of its answer."""
    seconds: Callable[[bytes], float]
    """Return the estimated time of decoding a long body."""


async def answer_body(call: ASGICall, turns: Turns, settings: Settings, decoder: Decoder) -> Reply:
    """Return the answer to the body of a call.

    Raises the errors of `ASGICall.body`, `decompress`, `Turns.answer` and the decoder.
    """
    max_bytes, allowed = settings.max_body_bytes, settings.request_timeout
    body = await call.body(max_bytes, call.seconds_left(allowed))
    encoding = find_encoding(call.headers)

    def estimate(content: bytes) -> float:
        return decoder.seconds(content) if len(content) > CHUNK_BYTES else 0.0

    def decode_body(job: Job) -> tuple[Request, Encode[Reply]]:
        content = body
        if encoding:
            content = decompress(body, encoding, max_bytes)
            job.watch.lap("parse")
            job.pause(estimate(content))
        return decoder.decode(content, job)

    seconds = max_bytes * INFLATE_SECONDS_PER_BYTE if encoding else estimate(body)
    return await turns.answer(call, decode_body, seconds, call.seconds_left(allowed), call.gone)


def find_encoding(headers: Mapping[bytes, bytes]) -> str:
    """Return the body's content-encoding, empty for an uncompressed body."""
    encoding = headers.get(b"content-encoding")
    return encoding.decode("latin-1").strip().lower() if encoding and encoding != b"identity" else ""
