"""Run the service in one process, or in several workers under a supervisor."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog

from service.access.listening import find_port, format_host, is_loopback
from service.config import Settings, find_misspelt
from service.http.checks import prepare
from service.http.draining import STOP_SIGNALS
from service.telemetry.logs import configure_logging, open_standard_descriptors

log = structlog.get_logger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until a signal to stop. Raises InvalidSettings."""
    open_standard_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there are files to reload
    for number in STOP_SIGNALS:
        signal.signal(number, _end_at_once)
    sockets = prepare(settings)
    configure_logging(settings.log_level)
    if not settings.api_keys and not is_loopback(settings.host):
        log.warning("every client that reaches this host may use, load and unload models; set DROPSERVE_API_KEYS")
    for variable in find_misspelt(os.environ):
        log.warning("there is no such setting", variable=variable)
    if settings.workers > 1:
        _run_workers(settings, sockets)
    else:
        _run_alone(settings, sockets)


def _run_workers(settings: Settings, sockets: list[socket.socket]) -> None:
    from service.http.supervisor import Supervisor

    with _shared_state(settings) as folder:
        shared = settings.model_copy(update={"state": folder})
        _announce(settings, sockets)
        sys.exit(Supervisor(shared, folder, sockets).run())


def _run_alone(settings: Settings, sockets: list[socket.socket]) -> None:
    from service.http.process import end_unless_started, make_server  # the application, which no supervisor needs

    server = make_server(settings, on_listening=partial(_announce, settings, sockets))
    server.run(sockets)
    end_unless_started(server)


def _announce(settings: Settings, sockets: list[socket.socket]) -> None:
    scheme = "https" if settings.ssl_certfile else "http"
    log.info(f"running on {scheme}://{format_host(settings.host)}:{find_port(sockets)} (Press CTRL+C to quit)")


def _end_at_once(_: int, __: object) -> None:
    sys.exit(0)


@contextmanager
def _shared_state(settings: Settings) -> Iterator[Path]:
    """Yield the folder shared by the workers: the one in the settings, or a temporary one."""
    if settings.state:
        yield settings.state
    else:
        with tempfile.TemporaryDirectory(prefix="dropserve-") as folder:
            yield Path(folder)
