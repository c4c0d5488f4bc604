"""Check everything that the settings refer to before the service starts, and report all errors together."""

import socket
import tempfile
from importlib.util import find_spec
from shutil import rmtree

from service.access.certificate import open_certificate
from service.access.keys import read_keys
from service.access.listening import bind
from service.config import InvalidSettings, Settings
from service.errors import DropserveError
from service.extras import remedy
from service.review.opening import open_store

PACKAGES_OF_PAGES = ("fastapi", "fastapi_offline", "markdown_it")
"""Required packages that are imported with the first page, so that their absence would show in a running service."""


class MissingPackage(DropserveError):
    """A required package is not installed."""

    code = "missing_package"


def prepare(settings: Settings) -> list[socket.socket]:
    """Check the settings and bind the sockets of HTTP. Raises MissingPackage, or InvalidSettings with all errors."""
    _check_packages()
    reasons: dict[str, str] = {}
    sockets: list[socket.socket] = []
    for name, check in CHECKS.items():
        try:
            check(settings)
        except InvalidSettings as error:
            reasons |= error.reasons
        except DropserveError as error:
            reasons[name] = error.message
    try:
        sockets = bind(settings.host, settings.port)
    except InvalidSettings as error:
        reasons |= error.reasons
    if reasons:
        for each in sockets:
            each.close()
        raise InvalidSettings(reasons)
    return sockets


def _check_packages() -> None:
    missing = [name for name in PACKAGES_OF_PAGES if find_spec(name) is None]
    if missing:
        raise MissingPackage(f"{', '.join(missing)}: required by Dropserve, and not installed")


def _check_certificate(settings: Settings) -> None:
    open_certificate(settings)


def _check_grpc(settings: Settings) -> None:
    if settings.grpc_port is None:
        return
    if find_spec("grpc") is None:
        raise InvalidSettings({"grpc_port": f"needs gRPC; {remedy('grpc')}"})
    if settings.workers > 1 and settings.grpc_port == 0:
        expected = "expected a port that all workers share, found 0, with which each would take another"
        raise InvalidSettings({"grpc_port": expected})
    if settings.grpc_port == settings.port != 0:
        raise InvalidSettings({"grpc_port": f"expected another port than that of HTTP, found {settings.grpc_port}"})
    for each in bind(settings.host, settings.grpc_port, "grpc_port"):  # gRPC itself would share a port in use
        each.close()


def _check_keys(settings: Settings) -> None:
    if settings.api_keys:
        read_keys(settings.api_keys)


def _check_store(settings: Settings) -> None:
    if settings.prediction_log:
        open_store(settings.prediction_log)


def _check_state(settings: Settings) -> None:
    """Reset the shared counters, and check that the folder can be written."""
    if settings.state is None or settings.workers == 1:
        return
    rmtree(settings.state / "metrics", ignore_errors=True)
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=settings.state).close()
    except OSError as error:
        expected = f"expected a writable folder, found {settings.state}: {error.strerror}"
        raise InvalidSettings({"state": expected}) from None


CHECKS = {
    "ssl_certfile": _check_certificate,
    "grpc_port": _check_grpc,
    "api_keys": _check_keys,
    "prediction_log": _check_store,
    "state": _check_state,
}
"""The checks by the setting to report, unless the error names one itself."""
