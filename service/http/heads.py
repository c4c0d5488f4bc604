"""What a request may be before it is one: the head is bounded, which neither the parser nor uvicorn does, and says
whom it is for. One that never ends would fill the memory of the process, no key needed.
"""

from service.errors import HeadTooLarge, MalformedHead
from service.http.chunks import Chunked

MAX_HEAD_BYTES = 2**16
"""Read in vain: of a request's head, or between the pieces of its body, which may be long too. What the system hands
over at once (256 KiB) may have more in it."""


class BoundedHeads(Chunked):
    """One connection, on which no more than so much is read in vain."""

    _in_vain = 0
    """Bytes read since the last head was complete or the last piece of a body came."""

    def data_received(self, data: bytes) -> None:
        """Go on reading; refuse what never becomes a request."""
        self._in_vain += len(data)
        super().data_received(data)
        if self._in_vain > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(HeadTooLarge(f"the head: expected at most {MAX_HEAD_BYTES} bytes", limit=MAX_HEAD_BYTES))

    def on_headers_complete(self) -> None:
        """There is a request, unless something in its head may be taken otherwise by a proxy."""
        self._in_vain = 0
        version = self.parser.get_http_version()
        _check_head(version, [name for name, _ in self.headers])
        if version == "1.0":
            self.expect_100_continue = False  # which is to be passed over (RFC 9110, 10.1.1)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """There is more of it."""
        self._in_vain = 0
        super().on_body(body)


def _check_head(version: str, names: list[bytes]) -> None:
    """Raises MalformedHead: HTTP/0.9 has no head; HTTP/1.1 has one host, and a body in chunks is not of HTTP/1.0
    (RFC 9112, 3.2 and 6.1).
    """
    hosts = names.count(b"host")
    if version == "0.9":
        raise MalformedHead("expected HTTP/1.1 behind the path")
    if hosts > 1 or (version == "1.1" and not hosts):
        raise MalformedHead(f"host: expected one, found {hosts}")
    if version == "1.0" and b"transfer-encoding" in names:
        raise MalformedHead("transfer-encoding: expected none in HTTP/1.0")
