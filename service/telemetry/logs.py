"""Logging: one line per event, in JSON, or in colours on a terminal."""

import logging
import os
import sys
import threading
from contextvars import ContextVar
from time import perf_counter

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from service.telemetry.log_writer import LogWriter
from service.telemetry.records import Record

REQUEST_ID: ContextVar[bytes] = ContextVar("request_id")
"""The id of the request being answered, added to its log lines."""

STDERR = 2
STANDARD = (0, 1, STDERR)
"""Descriptors of stdin, stdout and stderr."""

log = structlog.get_logger(__name__)


def log_record(record: Record) -> None:
    """Log the end of a request, without its body and key."""
    level = logging.INFO if record.status < 500 else logging.ERROR if record.status == 500 else logging.WARNING
    facts: dict[str, object] = {
        "method": record.method,
        "path": record.path[:200],
        "status": record.status,
        "milliseconds": round(1000 * (perf_counter() - record.started), 3),
    }
    if record.manifest is not None:
        facts["model"] = f"{record.manifest.name}/{record.manifest.version}"
    if record.outcome is not None:
        facts |= {"rows": record.outcome.rows, "passes": record.outcome.passes, "seed": record.outcome.seed}
    if record.caller is not None:
        facts["caller"] = record.caller
    log.log(level, "request", **facts)


def add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the request's id to a log line."""
    if request_id := REQUEST_ID.get(None):
        event.setdefault("request_id", request_id.decode())
    return event


SHARED: tuple[Processor, ...] = (
    add_request_id,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(level: str, descriptor: int = STDERR) -> None:
    """Send log events of all packages, from `level` on, to a file descriptor through a LogWriter."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if os.isatty(descriptor) else structlog.processors.JSONRenderer()
    )
    handler = LogWriter(descriptor)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*SHARED, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for replaced in root.handlers:
        replaced.close()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # the repository logs the effect of a change


def open_standard_descriptors() -> None:
    """Open /dev/null in place of standard descriptors that were closed when the process began.

    Otherwise a socket or file opened later could get such a number, and log lines would be written to it.
    """
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # this is the lowest free number


def log_what_python_prints() -> None:
    """Log warnings and uncaught exceptions of threads and finalisers, which Python would write to stderr."""
    logging.captureWarnings(capture=True)
    sys.unraisablehook = lambda lost: log_lost(lost.exc_value, place=repr(lost.object))
    threading.excepthook = lambda lost: log_lost(lost.exc_value, place=lost.thread.name if lost.thread else "")


def log_lost(error: BaseException | None, place: str) -> None:
    """Log an uncaught exception of a thread or a finaliser."""
    log.error("exception ignored", place=place, exc_info=error)
