"""The end of a worker: told to stop, it first says that it is not ready, so that balancers look elsewhere; then it
takes what has reached it already, and nothing more.
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from time import sleep
from types import FrameType

import structlog
import uvicorn

log = structlog.get_logger(__name__)

LINGER = 0.2
"""Seconds for connections whose handshake was under way, and for requests on those that were just accepted."""

SECONDS_TO_SPARE = 10.0
"""Seconds that a process may take to end, beyond those that its requests are given: for logs and traces."""

SO_ATTACH_FILTER = 26
"""Linux's; Python does not name it."""
DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of TCP's flags
    (0x45, 1, 0, 0x02),  # where SYN is set, pass over the next
    (0x06, 0, 0, 0xFFFFFFFF),  # keep the packet
    (0x06, 0, 0, 0),  # drop it
)
"""Classic BPF, as in Linux's filter.rst: (operation, jump if true, jump if false, operand)."""


class Drain:
    """The state that a process shares with its connections while it ends."""

    closing = False
    """Whether a connection closes with the answer to the last request that has reached it."""


def listen_for_the_end(begin: Callable[[], None], delay: float, drain_timeout: float, *, alone: bool) -> None:
    """From now on SIGTERM calls `begin`, and reaches the server `delay` seconds later and a little; it answers
    meanwhile. `alone`: no other process listens to its sockets.

    Where the process has not ended some seconds after `drain_timeout`, it is ended: Python waits without a bound for
    threads, such as one that reads models from a file system that hangs.

    To be called in the event loop, once the server has set its own handler. Where the server runs in another
    than the main thread, signals are not its affair.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)
    stopping: SimpleQueue[None] = SimpleQueue()  # whose `put` a signal may interrupt
    seconds = delay + LINGER + drain_timeout + SECONDS_TO_SPARE
    threading.Thread(target=_end_at_last, args=(stopping, seconds), name="end", daemon=True).start()

    def end(number: int, frame: FrameType | None) -> None:
        stopping.put(None)
        log.info("stopping", delay=delay)
        begin()
        loop.call_soon_threadsafe(wind_down, number, frame)

    def wind_down(number: int, frame: FrameType | None) -> None:
        server = getattr(stop, "__self__", None)  # the handler is a method of it
        if isinstance(server, uvicorn.Server) and alone:
            loop.call_later(delay, _close_the_door_of, server)
        if callable(stop):
            loop.call_later(delay + LINGER, stop, number, frame)

    signal.signal(signal.SIGTERM, end)


def _end_at_last(stopping: SimpleQueue[None], seconds: float) -> None:
    stopping.get()
    sleep(seconds)
    log.error("the process did not end in its time, and is ended", seconds=seconds)
    logging.shutdown()
    os._exit(1)


def close_the_door(listening: Iterable[socket.socket]) -> None:
    """Let these sockets take no new connection, while those that wait to be accepted, which closing would reset, stay.

    Who connects later is not answered, and once the sockets are closed, refused. On Linux; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in DROP_SYN))
    program = struct.pack("HP", len(DROP_SYN), ctypes.addressof(code))
    with suppress(OSError):  # where a sandbox does not allow it, a connection of the last moment is reset
        for each in listening:
            each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _close_the_door_of(server: uvicorn.Server) -> None:
    listeners = getattr(server, "servers", [])  # which it has not yet where it is stopped as it starts
    close_the_door([each for listener in listeners for each in listener.sockets])
