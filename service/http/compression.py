"""Bodies sent compressed."""

import zlib
from collections.abc import Mapping

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType
from service.stages import Stopwatch
from service.steps import Steps

WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""As zlib calls the formats; HTTP's deflate is zlib's own."""


INFLATE_SECONDS_PER_BYTE = 2e-9
"""Of what comes out; how much that is, only shows when it is done."""


def decompress_steps(body: bytes, headers: Mapping[bytes, bytes], max_bytes: int, watch: Stopwatch) -> Steps[bytes]:
    """The body as it was before it was sent, by its content-encoding; raises as `decompress` does."""
    encoding = headers.get(b"content-encoding")
    if not encoding or encoding == b"identity":
        return body
    yield max_bytes * INFLATE_SECONDS_PER_BYTE
    watch.lap("queue")
    content = decompress(body, encoding.decode("latin-1").strip().lower(), max_bytes)
    watch.lap("parse")
    return content


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body as it was, never more than allowed of it.

    Raises UnsupportedMediaType, MalformedBody or BodyTooLarge.
    """
    if encoding not in WINDOW_BITS:
        expected = ", ".join([*WINDOW_BITS, "identity"])
        message = f"content-encoding: expected one of {expected}; found {encoding[:100]}"
        raise UnsupportedMediaType(message, field="content-encoding", expected=[*WINDOW_BITS, "identity"])
    inflate = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        content = inflate.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedBody(f"the body is not {encoding}: {error}") from None
    if len(content) > max_bytes:
        raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes once decompressed", limit=max_bytes)
    if not inflate.eof or inflate.unused_data:
        raise MalformedBody(f"the body is not {encoding}: it ends too early or goes on too long")
    return content
