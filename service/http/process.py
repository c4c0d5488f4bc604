"""One serving process: its server with the application, and the reload on SIGHUP."""

import gc
import sys
from collections.abc import Callable
from functools import partial

import uvicorn

from service.access.calls import ASGIApp
from service.access.credentials import Credentials, reload_on_hangup
from service.config import Settings
from service.http.app import create_app
from service.http.connection import Connection
from service.http.draining import STARTUP_FAILURE, Drain, DrainingServer
from service.telemetry.logs import configure_logging, log_what_python_prints

GC_ALLOCATIONS = 10_000
"""Objects made between two collections of garbage: a turn of 64 requests makes about 700, Python's own threshold, and a
collection in the middle of a turn visits most of them in vain."""


def make_server(settings: Settings, on_listening: Callable[[], None] | None = None) -> DrainingServer:
    """Return the server of this process. Raises InvalidKeyFile or InvalidCertificate."""
    configure_logging(settings.log_level)
    log_what_python_prints()
    credentials = Credentials(settings)
    reload_on_hangup(credentials.reload)
    certificate = credentials.certificate
    drain = Drain()
    config = uvicorn.Config(
        partial(_make_app, settings, credentials, drain),
        factory=True,
        workers=settings.workers,
        ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
        http=Connection,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # callers are known by their keys alone
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain_timeout),
    )
    delay, timeout = settings.drain_delay, settings.drain_timeout
    return DrainingServer(config, drain, delay=delay, drain_timeout=timeout, on_listening=on_listening)


def end_unless_started(server: DrainingServer) -> None:
    """Exit with STARTUP_FAILURE if a server ended without having listened."""
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _make_app(settings: Settings, credentials: Credentials, drain: Drain) -> ASGIApp:
    app = create_app(settings, credentials=credentials, drain=drain)
    gc.collect()
    gc.freeze()  # modules and routes live as long as the process, and each collection of them took 40 ms
    gc.set_threshold(GC_ALLOCATIONS, *gc.get_threshold()[1:])
    gc.enable()
    return app
