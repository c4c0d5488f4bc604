"""Long JSON in pieces: while msgspec decodes, no other thread runs, so no piece may be long."""

from collections.abc import Iterator

import msgspec
import numpy as np

CHUNK_BYTES = 2**15
"""Of JSON, decoded at a time: at the very most 2 ms."""

SECONDS_PER_BYTE = 3e-9

SECONDS_PER_VALUE = 1e-7
"""Of numbers of a digit, which take longest: a list of 200,000 took 19 ms; those of 17 digits take two thirds."""

SPLIT = msgspec.json.Decoder(list[msgspec.Raw])
"""Into rows that are not looked into."""


def decode_seconds(body: bytes | memoryview) -> float:
    """About as long as it takes to decode a body's numbers into arrays."""
    return len(body) * SECONDS_PER_BYTE + count(body, b",") * SECONDS_PER_VALUE


def count(text: bytes | memoryview, character: bytes) -> int:
    """How often one of ASCII stands in a text; in a long one, without keeping other threads from running."""
    if len(text) <= CHUNK_BYTES:
        return bytes(text).count(character)
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(character)))


def chunks(rows: list[msgspec.Raw]) -> Iterator[tuple[int, list[msgspec.Raw]]]:
    """Rows of about CHUNK_BYTES together, but one at least; with the number of the first."""
    first, size = 0, 0
    for number, row in enumerate(rows):
        length = memoryview(row).nbytes + 1
        if size and size + length > CHUNK_BYTES:
            yield first, rows[first:number]
            first, size = number, 0
        size += length
    yield first, rows[first:]
