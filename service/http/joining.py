"""The head of an answer and its body go out in one write.

A write is a system call of some 10 µs, which is a tenth of a small request. ASGI asks for it too: nothing of an
answer may be sent before the first of its body is there.
"""

import asyncio
from typing import Any

from service.http.changeless import Changeless

HEAD, HEAD_ENDS, CONTINUE = b"HTTP/1.1 ", b"\r\n\r\n", b"HTTP/1.1 100 "


class JoiningTransport:
    """A transport that keeps the head of an answer until something follows it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._held = False

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

    def hold(self, held: bool) -> None:
        """Whether nothing is to be read, whoever asks for it."""
        self._held = held
        if held:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless it is held, or over: uvloop would raise."""
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what was kept, and end the connection."""
        self.flush()
        self._transport.close()


class Joining(Changeless):
    """One connection, which is written to through what joins writes."""

    transport: JoiningTransport  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The server's own way to write to it, too."""
        super().connection_made(JoiningTransport(transport))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """An answer may have had no body, as to HEAD."""
        self.transport.flush()
        super().on_response_complete()
