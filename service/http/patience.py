"""A caller has so many seconds, uvicorn's keep-alive time, to say what he wants and to take what he is told."""

import asyncio
import socket
import struct
from math import inf

from service.errors import SlowHead
from service.http.heads import BoundedHeads

GRACE = 0.05
"""Seconds from the end of a connection's time to its close. Timers come before reads: a request that came in time,
while the process was busy, is read in between, and not lost."""

NO_LINGER = struct.pack("ii", 1, 0)
"""Of SO_LINGER: on, for no time."""


class Patient(BoundedHeads):
    """One connection. Where nothing is being answered on it, the next request's head must have come whole in time, in
    whatever pieces; what is left of a refused request's body counts as waiting for it.
    """

    _head_due: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """The timer runs on while a head is in pieces, and ends with the head."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        elif self._head_due:
            self._head_due.cancel()
            self._head_due = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be waited for."""
        for timer in (self._head_due, self._stalled):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The caller takes less than he is sent; whoever takes nothing at all is left."""
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """He has caught up."""
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that rests, but for what came on it and was not read yet."""
        self.timeout_keep_alive_task = self.loop.call_later(GRACE, super().timeout_keep_alive_handler)

    @property
    def rests_since(self) -> float:
        """When its last answer was over, in the loop's time; infinity while a request is being answered."""
        timer = self._head_due or self.timeout_keep_alive_task  # ours for the first head, uvicorn's after an answer
        return timer.when() - self.timeout_keep_alive if timer else inf

    @property
    def tcp(self) -> socket.socket:
        """The system's end of it."""
        return self.transport.get_extra_info("socket")  # type: ignore[no-any-return]

    def _expect_head(self) -> None:
        if self._head_due is None and not self.transport.is_closing():
            self._head_due = self.loop.call_later(self.timeout_keep_alive, self._look_once_more)

    def _look_once_more(self) -> None:
        self._head_due = self.loop.call_later(GRACE, self._end_of_patience)

    def _end_of_patience(self) -> None:
        self.end(SlowHead(f"the head: did not arrive within {self.timeout_keep_alive} s"))

    def _watch_reader(self, unread: int) -> None:
        self._stalled = self.loop.call_later(self.timeout_keep_alive, self._leave_who_reads_nothing, unread)

    def _leave_who_reads_nothing(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread < before:
            self._watch_reader(unread)
        else:
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)  # the kernel keeps none of it either
            self.transport.abort()
