"""What a request may be before it is one: the head is bounded, which neither the parser nor uvicorn does, and says
whom it is for. One that never ends would fill the memory of the process, no key needed.
"""

from service.errors import HeadTooLarge
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
        """There is a request. What a callback raises for is refused: HTTP/0.9, which has no head, and one of HTTP/1.1
        without a host or with several (RFC 9112, 3.2), which a proxy may take for another's.
        """
        self._in_vain = 0
        hosts = [name for name, _ in self.headers].count(b"host")
        version = self.parser.get_http_version()
        if version == "0.9" or hosts > 1 or (version == "1.1" and not hosts):
            raise ValueError("host: expected one")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """There is more of it."""
        self._in_vain = 0
        super().on_body(body)
