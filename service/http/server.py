"""The processes: one or several workers below uvicorn's supervisor, all with the same settings."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from service.access.listening import find_port, format_host, is_loopback
from service.config import Settings, find_misspelt
from service.http.checks import prepare
from service.http.process import configure_process
from service.http.workers import Workers
from service.telemetry.logs import configure_logging, open_standard_descriptors

log = structlog.get_logger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until a signal to stop. Raises InvalidSettings."""
    open_standard_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to be read again
    sockets = prepare(settings)
    configure_logging(settings.log_level)
    if not settings.api_keys and not is_loopback(settings.host):
        log.warning("anybody who reaches this host may ask, load and unload; DROPSERVE_API_KEYS sets keys")
    for variable in find_misspelt(os.environ):
        log.warning("there is no such setting", variable=variable)
    if settings.workers > 1:
        _run_workers(settings, sockets)
    else:
        _run_alone(settings, sockets)


def _run_workers(settings: Settings, sockets: list[socket.socket]) -> None:
    with _shared_state(settings) as folder:
        shared = settings.model_copy(update={"state": folder})
        os.environ.update(shared.to_environment())  # which the workers inherit
        _announce(settings, sockets)
        if not Workers(shared, folder, sockets).serve():
            sys.exit(STARTUP_FAILURE)


def _run_alone(settings: Settings, sockets: list[socket.socket]) -> None:
    # uvicorn drains and then raises the signal again, to die of it; a service that ends on request did well
    signal.signal(signal.SIGTERM, _end_well)
    server = AnnouncedServer(configure_process(settings), settings)
    with suppress(KeyboardInterrupt):
        server.run(sockets)
    if not server.started:
        sys.exit(STARTUP_FAILURE)


class AnnouncedServer(uvicorn.Server):
    """A server that logs where it listens once it does: with sockets that it was given, uvicorn's does not."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. Exits where the application cannot start."""
        await super().startup(sockets)
        _announce(self._settings, sockets or [])


def _announce(settings: Settings, sockets: list[socket.socket]) -> None:
    scheme = "https" if settings.ssl_certfile else "http"
    log.info(f"running on {scheme}://{format_host(settings.host)}:{find_port(sockets)} (Press CTRL+C to quit)")


def _end_well(_: int, __: object) -> None:
    sys.exit(0)


@contextmanager
def _shared_state(settings: Settings) -> Iterator[Path]:
    """Where several workers keep what they share: the folder set, or one for as long as they run."""
    if settings.state:
        yield settings.state
    else:
        with tempfile.TemporaryDirectory(prefix="dropserve-") as folder:
            yield Path(folder)
