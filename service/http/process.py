"""One process that serves: its server, with the application and what SIGHUP has it read again."""

import gc
from functools import partial

import uvicorn

from service.access.calls import ASGIApp
from service.access.credentials import Credentials, reload_on_hangup
from service.config import Settings
from service.http.app import create_app
from service.http.connection import Connection
from service.telemetry.logs import configure_logging, log_what_python_prints


def configure_process(settings: Settings) -> uvicorn.Config:
    """Return the configuration of this process's server. Raises InvalidKeyFile or InvalidCertificate."""
    configure_logging(settings.log_level)
    log_what_python_prints()
    credentials = Credentials(settings)
    reload_on_hangup(credentials.reload)
    certificate = credentials.certificate
    return uvicorn.Config(
        partial(_make_app, settings, credentials),
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


def _make_app(settings: Settings, credentials: Credentials) -> ASGIApp:
    app = create_app(settings, credentials=credentials)
    gc.collect()
    gc.freeze()  # modules and routes stay for ever: to look through them again and again took 40 ms each time
    return app
