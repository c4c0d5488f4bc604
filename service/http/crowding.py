"""How many connections a process keeps: each costs memory, and a file descriptor, which loading a model needs too.

Where there are as many as it keeps, who has rested longest goes; where none rests, who comes gets one answer and goes.
"""

import asyncio
import fcntl
import resource
import termios
from math import inf
from typing import Any

import structlog

from service.http.pipelining import InTurn

RESTED = 1.0
"""Seconds without a request after which a connection may go; the first request on a new one may still be under way."""

OTHER_FILES = 256
"""File descriptors for all that is no connection over HTTP: models, logs, stores, listening sockets, gRPC."""

log = structlog.get_logger(__name__)


class Counted(InTurn):
    """One connection of at most `uvicorn.Config.limit_concurrency`; uvicorn itself would refuse the requests of all
    connections where there are too many.
    """

    _last = False
    """Whether its next request is its last."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._most, self.limit_concurrency = self.limit_concurrency, None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Room is made for it; it stays in any case, that nobody who asked goes without an answer."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most:
            self._last = not self._make_room()

    def on_headers_complete(self) -> None:
        """A request, with whose answer the connection may end; or a head that is read again."""
        super().on_headers_complete()
        if self._last and self.cycle:
            self.cycle.keep_alive = False

    def has_unread(self) -> bool:
        """Whether something has come that was not read yet."""
        return fcntl.ioctl(self.tcp, termios.FIONREAD, bytes(4)) != bytes(4)

    def _make_room(self) -> bool:
        """Whether one goes for this one."""
        rests_longest: Counted = min(self.connections, key=_rests_since)  # type: ignore[arg-type, assignment]
        if self.loop.time() - rests_longest.rests_since < RESTED or rests_longest.has_unread():
            return False
        rests_longest.transport.close()
        return True


def _rests_since(connection: Counted) -> float:
    """Infinity for one that takes its answer still, or goes already."""
    transport = connection.transport
    return inf if transport.is_closing() or transport.get_write_buffer_size() else connection.rests_since


def room_for(connections: int) -> int:
    """How many of so many connections there are file descriptors for, once the operating system was asked for more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (inf if limit == resource.RLIM_INFINITY else limit for limit in limits)
    allowed = min(connections + OTHER_FILES, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(allowed), limits[1]))
    room = min(connections, max(int(allowed) - OTHER_FILES, int(allowed) // 2))
    if room < connections:
        log.warning("the system's limit of open files allows fewer connections", max_connections=room, files=allowed)
    return room
