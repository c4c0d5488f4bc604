"""HTTP/1.1 as uvicorn speaks it, but the head of an answer and its body go out in one write.

A write is a system call of some 10 µs, which is a tenth of a small request. ASGI asks for it too: nothing of an
answer may be sent before the first of its body is there. And the head of a request is bounded, which neither the
parser nor uvicorn does: one that never ends would fill the memory, no key needed.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import DropserveError, LimitExceeded, MalformedBody
from service.http.refusals import error_reply

MAX_HEAD_BYTES = 2**16
"""Read in vain: of a request's head, or between the pieces of its body, which may be long too. What the system hands
over at once (256 KiB) may have more in it."""

HEAD, HEAD_ENDS, CONTINUE = b"HTTP/1.1 ", b"\r\n\r\n", b"HTTP/1.1 100 "


STATUS_LINES = {400: "HTTP/1.1 400 Bad Request", 431: "HTTP/1.1 431 Request Header Fields Too Large"}


class JoiningTransport:
    """A transport that keeps the head of an answer until something follows it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it, behind a head that was kept; or keep it, where it is one."""
        if not self._head and data.startswith(HEAD) and data.endswith(HEAD_ENDS) and not data.startswith(CONTINUE):
            self._head = data
            return
        head, self._head = self._head, b""
        self._transport.write(head + data if head else data)

    def flush(self) -> None:
        """Send what was kept: nothing follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what was kept, and end the connection."""
        self.flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """One connection. WebSockets are not spoken: a request to change over is answered as if it did not say so."""

    _in_vain = 0
    """Bytes read since the last head was complete or the last piece of a body came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The server's own way to write to it is through what joins writes."""
        super().connection_made(JoiningTransport(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Go on reading; refuse what never becomes a request."""
        self._in_vain += len(data)
        super().data_received(data)
        if self._in_vain > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(LimitExceeded(f"the head: expected at most {MAX_HEAD_BYTES} bytes", limit=MAX_HEAD_BYTES), 431)

    def on_headers_complete(self) -> None:
        """There is a request."""
        self._in_vain = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """There is more of it."""
        self._in_vain = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """An answer may have had no body, as to HEAD."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused in the form that all errors have."""
        self._refuse(MalformedBody(msg), 400)

    def _refuse(self, error: DropserveError, status: int) -> None:
        """End the connection; with an answer, unless one is being given or is due to an earlier request."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            _, content, _ = error_reply(error)
            head = f"{STATUS_LINES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + content)
        self.transport.close()

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        pass
