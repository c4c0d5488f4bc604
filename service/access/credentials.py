"""The API keys and the certificate, which are reloaded on SIGHUP."""

import signal
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import structlog

from service.access.certificate import open_certificate
from service.access.keys import Access, read_keys
from service.config import Settings
from service.errors import DropserveError

log = structlog.get_logger(__name__)


class Credentials:
    """The keys and the certificate of the settings, either of which may be None."""

    def __init__(self, settings: Settings) -> None:
        """Read the files. Raises InvalidKeyFile or InvalidCertificate."""
        self._key_file = settings.api_keys
        self.access: Access | None = read_keys(settings.api_keys) if settings.api_keys else None
        self.certificate = open_certificate(settings)

    def reload(self) -> None:
        """Read the files again; an error in one is logged, and its previous content stays in use."""
        if self._key_file:
            _try_to_reload("API keys", self._reload_keys)
        if self.certificate:
            _try_to_reload("certificate", self.certificate.reload)

    def _reload_keys(self) -> None:
        assert self.access
        assert self._key_file
        self.access.replace(read_keys(self._key_file))


def reload_on_hangup(reload: Callable[[], None]) -> None:
    """Call `reload` in a thread at each SIGHUP, also for one pending while the signal was blocked."""
    hangups: SimpleQueue[None] = SimpleQueue()  # its `put` may be interrupted by another signal

    def wait() -> None:
        while True:
            hangups.get()
            reload()

    Thread(target=wait, name="reload", daemon=True).start()
    signal.signal(signal.SIGHUP, lambda *_: hangups.put(None))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _try_to_reload(what: str, reload: Callable[[], None]) -> None:
    try:
        reload()
    except DropserveError as error:
        log.error("not read again, the previous one stays", what=what, reason=error.message)
    else:
        log.info("read again", what=what)
