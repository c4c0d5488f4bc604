"""The end of a worker: told to stop, it first says that it is not ready, so that balancers look elsewhere."""

import asyncio
import signal
import threading
from types import FrameType

import structlog

from service.errors import NotReady

log = structlog.get_logger(__name__)


class Drain:
    """Whether the service has been told to stop."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self.begun = False

    def listen(self) -> None:
        """From now on, SIGTERM is passed on to the server `delay` seconds late; requests are answered meanwhile.

        To be called in the event loop, when the server has set its own handler.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # signals are another's
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:
            self.begun = True
            log.info("stopping", delay=self._delay)
            if callable(stop):
                loop.call_soon_threadsafe(loop.call_later, self._delay, stop, number, frame)

        signal.signal(signal.SIGTERM, begin)

    def check_ready(self) -> None:
        """Raises NotReady once the end has begun."""
        if self.begun:
            raise NotReady("the service is stopping")
