"""The shutdown of a process, from the stop signal until its listening sockets and connections are closed."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from time import sleep
from types import FrameType

import structlog
import uvicorn

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
STARTUP_FAILURE = 3
"""Exit code of a process whose application cannot start, the same as uvicorn's."""

LINGER = 0.2
"""Seconds in which a request may arrive on the connections accepted last."""

SECONDS_TO_SPARE = 10.0
"""Seconds that a process may take to end after its drain, for logs and traces."""


class Drain:
    """The shutdown state of a process, shared by its server, application and connections."""

    def __init__(self) -> None:
        """Start without a shutdown in progress."""
        self.closing = False
        """Whether each connection closes with the answer to its last received request."""
        self._calls: list[Callable[[], None]] = []

    def on_begin(self, call: Callable[[], None]) -> None:
        """Call a function once the drain begins, at once if it has begun."""
        if self.closing:
            call()
        else:
            self._calls.append(call)

    def begin(self) -> None:
        """Make the application report that it is stopping, and each answer close its connection."""
        self.closing = True
        for call in self._calls:
            call()


class DrainingServer(uvicorn.Server):
    """A server that answers requests for a while after a stop signal.

    uvicorn would close the listening sockets and all idle connections at once, and so reset requests just sent.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Drain,
        *,
        delay: float,
        drain_timeout: float,
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Share `drain` with the application; `delay` and `drain_timeout` are in seconds, as in the settings.

        `on_listening` is called once the server listens.
        """
        super().__init__(config)
        self._drain = drain
        self._delay = delay
        self._seconds = delay + LINGER + drain_timeout + SECONDS_TO_SPARE
        self._on_listening = on_listening
        self._stopping: SimpleQueue[None] = SimpleQueue()  # its `put` may be interrupted by another signal

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the stop signals while the server runs, and ignore them once it has ended.

        uvicorn enters this context in `serve`, whatever its version, and documents no option for it. Its own handlers
        raise the signal again after the drain, so that the process would not end with exit code 0.
        """
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=_end_at_last, args=(self._stopping, self._seconds), name="end", daemon=True).start()
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. Raises SystemExit if the application cannot start."""
        await super().startup(sockets)
        self._sockets = sockets or []
        if self.started and self._on_listening:
            self._on_listening()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Begin the drain, on SIGINT without its delay; SIGINT during the drain ends it early, as in uvicorn."""
        self._stopping.put(None)
        if number == signal.SIGINT and self._drain.closing:
            self.handle_exit(number, frame)
        else:
            self._loop.call_soon_threadsafe(self._begin, self._delay if number == signal.SIGTERM else 0.0)

    def _begin(self, delay: float) -> None:
        if self._drain.closing:
            return
        log.info("stopping", delay=delay)
        self._drain.begin()
        self._end = self._loop.create_task(self._end_after(delay))

    async def _end_after(self, delay: float) -> None:
        await asyncio.sleep(delay)
        if self.started:
            self._close_listeners()
        await asyncio.sleep(LINGER)
        self.should_exit = True

    def _close_listeners(self) -> None:
        """Close the listening sockets, and accept the waiting connections, which would otherwise be reset."""
        waiting: list[socket.socket] = []
        for each, listener in zip(self._sockets, self.servers, strict=True):
            waiting += _accept_waiting(each)
            listener.close()
        connect = partial(self._loop.connect_accepted_socket, self._make_connection, ssl=self.config.ssl)
        self._connecting = asyncio.gather(*map(connect, waiting), return_exceptions=True)  # TLS handshakes take time

    def _make_connection(self) -> asyncio.Protocol:
        """Return a protocol, created like uvicorn's for each accepted connection."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _accept_waiting(listening: socket.socket) -> Iterator[socket.socket]:
    with suppress(OSError):  # BlockingIOError once none waits
        while True:
            yield listening.accept()[0]


def _end_at_last(stopping: SimpleQueue[None], seconds: float) -> None:
    """End the process if it has not ended this many seconds after the stop signal.

    Python waits without a bound for threads, such as one that reads models from a file system that hangs.
    """
    stopping.get()
    sleep(seconds)
    log.error("the process did not end in time and is aborted", seconds=seconds)
    logging.shutdown()
    os._exit(1)
