"""The bytes of answers in HTTP/1.1."""

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from service.access.calls import Header

PHRASES = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES = {status: f"HTTP/1.1 {status} {PHRASES.get(status, '')}\r\n".encode() for status in range(100, 600)}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = (b"connection", b"close")
CHUNKED = (b"transfer-encoding", b"chunked")
LAST_CHUNK = b"0\r\n\r\n"

BODILESS = frozenset((204, 304))
"""Statuses whose answers have no body (RFC 9110, 6.4.1)."""


def encode_head(status: int, headers: Sequence[Header]) -> bytes:
    """Return the head of an answer. Raises ValueError for a header with control characters."""
    lines = b"".join([b"%s: %s\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("a header of the answer has control characters")
    return b"%s%s\r\n" % (STATUS_LINES[status], lines)


def encode_whole(status: int, headers: tuple[Header, ...], request_id: bytes, content: bytes) -> bytes:
    """Return a whole answer. Raises ValueError for a header with control characters."""
    lines = _encode_lines(status, headers)
    return b"%scontent-length: %d\r\nx-request-id: %s\r\n\r\n%s" % (lines, len(content), request_id, content)


@lru_cache(maxsize=64)
def _encode_lines(status: int, headers: tuple[Header, ...]) -> bytes:
    """Return the beginning of a head, which is the same for most answers of a second."""
    return encode_head(status, headers)[:-2]


def encode_chunk(content: bytes, *, last: bool) -> bytes:
    """Return content as a chunk (RFC 9112, 7.1); empty content is left out, as an empty chunk ends the body."""
    chunk = b"%x\r\n%s\r\n" % (len(content), content) if content else b""
    return chunk + LAST_CHUNK if last else chunk
