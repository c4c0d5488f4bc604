"""Bodies sent compressed."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType


class Format(NamedTuple):
    """A content-encoding that is read."""

    window_bits: int
    """As zlib calls the formats; HTTP's deflate is zlib's own."""
    max_members: int
    """A file of gzip may be several, one behind the other (RFC 1952, section 2.2); each costs, however short it is."""


FORMATS = {"gzip": Format(31, 1000), "deflate": Format(15, 1)}

SLICE_BYTES = 2**16
"""Of a body, fed to zlib at a time: what lies behind the end of a member is copied."""

INFLATE_SECONDS_PER_BYTE = 2e-9
"""Of what comes out; how much that is, only shows when it is done."""


def find_encoding(headers: Mapping[bytes, bytes]) -> str:
    """Return the body's content-encoding; empty where it is sent as it is."""
    encoding = headers.get(b"content-encoding")
    return encoding.decode("latin-1").strip().lower() if encoding and encoding != b"identity" else ""


def inflate_seconds(max_bytes: int) -> float:
    """Estimate how long a body takes that may be so large once decompressed."""
    return max_bytes * INFLATE_SECONDS_PER_BYTE


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body as it was, never more than allowed of it.

    Raises UnsupportedMediaType, MalformedBody or BodyTooLarge.
    """
    if encoding not in FORMATS:
        expected = ", ".join([*FORMATS, "identity"])
        message = f"content-encoding: expected one of {expected}; found {encoding[:100]}"
        raise UnsupportedMediaType(message, field="content-encoding", expected=[*FORMATS, "identity"])
    try:
        content, ended = _inflate(body, FORMATS[encoding], max_bytes + 1)
    except zlib.error as error:
        raise MalformedBody(f"the body is not {encoding}: {error}") from None
    if len(content) > max_bytes:
        raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes once decompressed", limit=max_bytes)
    if not ended:
        raise MalformedBody(f"the body is not {encoding}: it ends too early")
    return content


def _inflate(body: bytes, form: Format, max_bytes: int) -> tuple[bytes, bool]:
    """What comes out, no more than so much of it, and whether the body ends where a member does."""
    inflate = zlib.decompressobj(form.window_bits)
    parts: list[bytes] = []
    members, left = 1, max_bytes
    for start in range(0, len(body), SLICE_BYTES):
        piece = body[start : start + SLICE_BYTES]
        while piece and left:
            if inflate.eof:
                inflate, members = zlib.decompressobj(form.window_bits), members + 1
            if members > form.max_members:
                raise zlib.error(f"it goes on after its end, or has more than {form.max_members} members")
            parts.append(inflate.decompress(piece, left))
            left -= len(parts[-1])
            piece = inflate.unused_data
    return b"".join(parts), inflate.eof
