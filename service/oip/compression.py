"""Bodies sent compressed."""

import zlib

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType

WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""As zlib calls the formats; HTTP's deflate is zlib's own."""


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
