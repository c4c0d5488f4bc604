"""HTTP/1.1 as uvicorn speaks it, but the head of an answer and its body go out in one write, a caller has so many
seconds to say what he wants and to take what he is told, and what is no HTTP is refused in the form of all errors.

A write is a system call of some 10 µs, which is a tenth of a small request. ASGI asks for it too: nothing of an
answer may be sent before the first of its body is there.
"""

import asyncio
import socket
import struct
from typing import Any

from service.errors import MalformedHead, SlowHead
from service.http.heads import BoundedHeads

HEAD, HEAD_ENDS, CONTINUE = b"HTTP/1.1 ", b"\r\n\r\n", b"HTTP/1.1 100 "


GRACE = 0.05
"""Seconds from the end of a connection's time to its close. Timers come before reads: a request that came in time,
while the process was busy, is read in between, and not lost."""

NO_LINGER = struct.pack("ii", 1, 0)
"""Of SO_LINGER: on, for no time."""


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


class Protocol(BoundedHeads):
    """One connection. Where nothing is being answered on it, the next request's head must have come whole within
    uvicorn's keep-alive time, in whatever pieces; what is left of a refused request's body counts as waiting for it.
    """

    _head_due: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The server's own way to write to it is through what joins writes."""
        super().connection_made(JoiningTransport(transport))  # type: ignore[arg-type]
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """The timer runs on while a head is in pieces, and ends with the head."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        elif self._head_due:
            self._head_due.cancel()
            self._head_due = None

    @property
    def _socket(self) -> socket.socket:
        """What the system knows of it."""
        return self.transport.get_extra_info("socket")  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be waited for."""
        for timer in (self._head_due, self._stalled):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer may have had no body, as to HEAD."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The caller takes less than he is sent; whoever takes nothing at all is left."""
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """He has caught up."""
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, in no form of ours
        """To what is no HTTP. Where a request is being answered, its answer comes first and is the last."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self.hang_up(MalformedHead("this is not HTTP/1.1 as the service reads it"))
        else:
            self.cycle.keep_alive = False
            self.flow.pause_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that rests, but for what came on it and was not read yet."""
        self.timeout_keep_alive_task = self.loop.call_later(GRACE, super().timeout_keep_alive_handler)

    def _expect_head(self) -> None:
        if self._head_due is None and not self.transport.is_closing():
            self._head_due = self.loop.call_later(self.timeout_keep_alive, self._look_once_more)

    def _look_once_more(self) -> None:
        self._head_due = self.loop.call_later(GRACE, self._end_of_patience)

    def _end_of_patience(self) -> None:
        """Who began a request is told why; who said nothing, or goes on with one that was refused, knows."""
        if self.scope is None or (self.cycle and self.scope is self.cycle.scope):
            self.transport.close()
        else:
            self.hang_up(SlowHead(f"the head: did not arrive within {self.timeout_keep_alive} s"))

    def _watch_reader(self, unread: int) -> None:
        self._stalled = self.loop.call_later(self.timeout_keep_alive, self._leave_who_reads_nothing, unread)

    def _leave_who_reads_nothing(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread < before:
            self._watch_reader(unread)
        else:
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
            )  # the kernel keeps none of it either
            self.transport.abort()
