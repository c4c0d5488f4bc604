"""The head of a request is bounded, which neither the parser nor uvicorn does: one that never ends would fill the
memory of the process, no key needed.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import DropserveError, HeadTooLarge
from service.http.refusals import error_reply

MAX_HEAD_BYTES = 2**16
"""Read in vain: of a request's head, or between the pieces of its body, which may be long too. What the system hands
over at once (256 KiB) may have more in it."""


FRAMING = (b"content-length", b"transfer-encoding")
"""Headers that tell of a body."""


class BoundedHeads(HttpToolsProtocol):
    """One connection. WebSockets are not spoken: a request to change over is answered as if it did not say so."""

    _in_vain = 0
    """Bytes read since the last head was complete or the last piece of a body came."""

    def data_received(self, data: bytes) -> None:
        """Go on reading; refuse what never becomes a request."""
        self._in_vain += len(data)
        super().data_received(data)
        if self._in_vain > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """There is a request. Of one that would change over, the parser takes the body for the next request, which
        behind a proxy may be another caller's: it is refused, as whatever a callback raises for.
        """
        self._in_vain = 0
        if self.parser.should_upgrade() and any(name in FRAMING and value != b"0" for name, value in self.headers):
            raise ValueError("upgrade: not with a body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """There is more of it."""
        self._in_vain = 0
        super().on_body(body)

    def hang_up(self, error: DropserveError) -> None:
        """The last words on a connection, which no application speaks."""
        status, content, headers = error_reply(error)
        lines = [
            *self.server_state.default_headers,
            *headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ]
        told = [b"%s: %s\r\n" % line for line in lines if line[0] != b"connection"]
        self.transport.write(b"".join([STATUS_LINE[status], *told, b"connection: close\r\n\r\n", content]))
        self.transport.close()

    def _refuse_head(self) -> None:
        """End the connection; with an answer, unless one is being given or is due to an earlier request."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            error = f"the head: expected at most {MAX_HEAD_BYTES} bytes"
            self.hang_up(HeadTooLarge(error, limit=MAX_HEAD_BYTES))
        else:
            self.transport.close()

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        pass
