"""The processes: one or several workers below uvicorn's supervisor, all with the same settings."""

import gc
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from service.config import Settings, find_misspelt
from service.errors import DropserveError
from service.extras import remedy
from service.http.access import read_keys
from service.http.app import create_app
from service.http.crowding import room_for
from service.http.gate import ASGIApp
from service.http.waiting import Timed
from service.http.workers import SILENCE, Workers
from service.review.store import open_store
from service.telemetry.logs import configure_logging

LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = structlog.get_logger(__name__)


class InvalidSetting(DropserveError):
    """A setting that cannot be served by, such as a certificate whose key does not fit."""

    code = "invalid_setting"


def run_server(settings: Settings) -> None:
    """Serve until told to stop. Raises InvalidKeyFile, InvalidSetting or InvalidStore."""
    _check(settings)
    configure_logging(settings.log_level)
    if not settings.api_keys and settings.host not in LOOPBACK:
        log.warning("anybody who reaches this host may ask, load and unload; DROPSERVE_API_KEYS sets keys")
    for variable in find_misspelt(os.environ):
        log.warning("there is no such setting", variable=variable)
    if settings.workers == 1:
        # uvicorn drains and then raises the signal again, to die of it; a service that was told to stop did well
        signal.signal(signal.SIGTERM, _end_well)
    with _shared_state(settings) as settings:
        os.environ.update(settings.to_environment())  # which the workers inherit
        config = uvicorn.Config(
            "service.http.server:create_worker",
            factory=True,
            workers=settings.workers,
            host=settings.host,
            port=settings.port,
            ssl_certfile=settings.ssl_certfile,
            ssl_keyfile=settings.ssl_keyfile,
            http=Timed,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing here asks who a caller is but by his key
            server_header=False,
            limit_concurrency=room_for(settings.max_connections),
            timeout_keep_alive=settings.idle_timeout,
            timeout_graceful_shutdown=round(settings.drain_timeout),
            timeout_worker_healthcheck=SILENCE,
        )
        if settings.workers > 1:
            Workers(config, [config.bind_socket()], settings.drain_delay, settings.drain_timeout).run()
        else:
            _run_alone(config)


def _check(settings: Settings) -> None:
    """What cannot be served by is told now, and plainly, not by every worker."""
    _check_certificate(settings)
    if settings.workers > 1 and settings.grpc_port == 0:
        raise InvalidSetting("grpc_port: expected a port that all workers can share, found 0: each would take another")
    if settings.grpc_port is not None and find_spec("grpc") is None:
        raise InvalidSetting(f"grpc_port: needs gRPC; {remedy('grpc')}")
    if settings.prediction_log:
        open_store(settings.prediction_log)
    if settings.api_keys:
        read_keys(settings.api_keys)


def _run_alone(config: uvicorn.Config) -> None:
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def create_worker() -> ASGIApp:
    """The application of one process, by its environment."""
    settings = Settings()
    configure_logging(settings.log_level)
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # modules and routes stay for ever: to look through them again and again took 40 ms each time
    return app


def _end_well(_: int, __: object) -> None:
    sys.exit(0)


def _check_certificate(settings: Settings) -> None:
    if not settings.ssl_certfile:
        if settings.ssl_keyfile:
            raise InvalidSetting("ssl_certfile: expected one, for the key of ssl_keyfile; found none")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:  # of which SSLError is one
        keyfile = settings.ssl_keyfile or "unset, so the key is looked for with the certificate"
        message = (
            f"no certificate and key of it in ssl_certfile {settings.ssl_certfile}, ssl_keyfile {keyfile}: {error}"
        )
        raise InvalidSetting(message) from None


def _check_folder(setting: str, folder: Path) -> None:
    """There is one, where something can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InvalidSetting(f"{setting}: nothing can be written to {folder}: {error.strerror}") from None


@contextmanager
def _shared_state(settings: Settings) -> Iterator[Settings]:
    """Where several workers keep what they share: the folder set, or one for as long as they run."""
    if settings.workers == 1:
        yield settings
    elif settings.state:
        rmtree(settings.state / "metrics", ignore_errors=True)  # counters begin with the service
        _check_folder("state", settings.state)
        yield settings
    else:
        with tempfile.TemporaryDirectory(prefix="dropserve-") as folder:
            yield settings.model_copy(update={"state": Path(folder)})
