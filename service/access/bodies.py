"""Answer calls for inference: read the body, decompress it in the work that decodes it, and run that work."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from service.access.calls import Call
from service.access.compression import decompress
from service.config import Settings
from service.engine.job import Job
from service.inference import Request
from service.rows.json_chunks import CHUNK_BYTES
from service.turn import Encode, Turns

INFLATE_SECONDS_PER_BYTE = 2e-9
"""Seconds per decompressed byte."""

T = TypeVar("T")
DecodeBody = Callable[[bytes, Job], tuple[Request, Encode[T]]]


async def answer_body(
    call: Call, turns: Turns, settings: Settings, decode: DecodeBody[T], decode_seconds: Callable[[bytes], float]
) -> T:
    """Return the encoded answer to the body of a call.

    `decode_seconds` estimates how long a long body takes to decode. Raises the errors of `Call.body`, `decompress`,
    `Turns.answer` and `decode`.
    """
    max_bytes, allowed = settings.max_body_bytes, settings.request_timeout
    body = await call.body(max_bytes, call.seconds_left(allowed))
    encoding = _find_encoding(call.headers)

    def estimate(content: bytes) -> float:
        return decode_seconds(content) if len(content) > CHUNK_BYTES else 0.0

    def decode_body(job: Job) -> tuple[Request, Encode[T]]:
        content = body
        if encoding:
            content = decompress(body, encoding, max_bytes)
            job.watch.lap("parse")
            job.pause(estimate(content))
        return decode(content, job)

    seconds = max_bytes * INFLATE_SECONDS_PER_BYTE if encoding else estimate(body)
    return await turns.answer(call, decode_body, seconds, call.seconds_left(allowed), call.gone)


def _find_encoding(headers: Mapping[bytes, bytes]) -> str:
    """Return the body's content-encoding, empty for an uncompressed body."""
    encoding = headers.get(b"content-encoding")
    return encoding.decode("latin-1").strip().lower() if encoding and encoding != b"identity" else ""
