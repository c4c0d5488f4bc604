"""Cut long JSON into chunks: msgspec holds the GIL while it decodes, so each chunk must be short."""

from collections.abc import Iterator

import msgspec
import numpy as np

CHUNK_BYTES = 2**15
"""Bytes of JSON decoded at a time, which takes at most 2 ms."""

SECONDS_PER_BYTE = 3e-9

SECONDS_PER_VALUE = 1e-7
"""Seconds per value, measured with one-digit numbers (200,000 in 19 ms); longer ones take less per byte."""

SPLIT = msgspec.json.Decoder(list[msgspec.Raw])
"""The decoder of a list that leaves its rows as JSON."""


def decode_seconds(body: bytes | memoryview) -> float:
    """Return the estimated seconds to decode a body's numbers into arrays."""
    return len(body) * SECONDS_PER_BYTE + count(body, b",") * SECONDS_PER_VALUE


def count(text: bytes | memoryview, character: bytes) -> int:
    """Return how often an ASCII character occurs; in a long text numpy counts, which releases the GIL."""
    if len(text) <= CHUNK_BYTES:
        return bytes(text).count(character)
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(character)))


def chunks(rows: list[msgspec.Raw]) -> Iterator[tuple[int, list[msgspec.Raw]]]:
    """Yield chunks of about CHUNK_BYTES, at least one row each, with the number of their first row."""
    first, size = 0, 0
    for number, row in enumerate(rows):
        length = memoryview(row).nbytes + 1
        if size and size + length > CHUNK_BYTES:
            yield first, rows[first:number]
            first, size = number, 0
        size += length
    yield first, rows[first:]
