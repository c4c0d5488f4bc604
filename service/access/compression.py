"""Decompress request bodies."""

import zlib
from typing import NamedTuple

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType


class Format(NamedTuple):
    """A supported content-encoding."""

    window_bits: int
    """zlib's `wbits` of the format; HTTP's deflate is zlib's own format."""
    max_members: int
    """The largest number of concatenated gzip members (RFC 1952, section 2.2), each of which has a fixed cost."""


FORMATS = {"gzip": Format(31, 1000), "deflate": Format(15, 1)}

SLICE_BYTES = 2**16
"""Bytes of a body passed to zlib at a time, as zlib copies all input after the end of a member."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the decompressed body of at most `max_bytes`.

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
    """Return at most `max_bytes` of the decompressed body, and whether it ends with a complete member."""
    inflate = zlib.decompressobj(form.window_bits)
    parts: list[bytes] = []
    members, left = 1, max_bytes
    for start in range(0, len(body), SLICE_BYTES):
        piece = body[start : start + SLICE_BYTES]
        while piece and left:
            if inflate.eof:
                inflate, members = zlib.decompressobj(form.window_bits), members + 1
            if members > form.max_members:
                raise zlib.error(f"it continues after its end, or has more than {form.max_members} members")
            parts.append(inflate.decompress(piece, left))
            left -= len(parts[-1])
            piece = inflate.unused_data
    return b"".join(parts), inflate.eof
