"""The end of a worker: told to stop, it first says that it is not ready, so that balancers look elsewhere."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger(__name__)


def listen_for_the_end(begin: Callable[[], None], delay: float) -> None:
    """From now on SIGTERM calls `begin`, and reaches the server `delay` seconds later; it answers meanwhile.

    To be called in the event loop, once the server has set its own handler. Where the server runs in another
    than the main thread, signals are not its affair.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        log.info("stopping", delay=delay)
        begin()
        if callable(stop):
            loop.call_soon_threadsafe(loop.call_later, delay, stop, number, frame)

    signal.signal(signal.SIGTERM, end)
