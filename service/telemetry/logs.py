"""Logging: one line an event, JSON for machines, colours for a terminal."""

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
"""Of the request that is being answered; set by `service.http.gate`."""

STDERR = 2
STANDARD = (0, 1, STDERR)
"""Descriptors of stdin, stdout and stderr."""

log = structlog.get_logger("service.access.keys")


def log_record(record: Record) -> None:
    """How a request ended, never with what it held: neither body nor key."""
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
    """So that all lines of a request can be found by its id."""
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
    """Send our own events and those of other packages, at least as severe as `level`, to a file descriptor.

    Logging never waits for it: see LogWriter.
    """
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
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what a change means is told by who looks at it


def open_standard_descriptors() -> None:
    """Open to nothing those that were closed when the process began.

    Else a socket or a database that is opened later has such a number, and gets log lines.
    """
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number, which is this


def log_what_python_prints() -> None:
    """Log warnings, and exceptions that no code can catch, which Python would write to stderr and wait for it."""
    logging.captureWarnings(capture=True)
    sys.unraisablehook = lambda lost: log_lost(lost.exc_value, place=repr(lost.object))
    threading.excepthook = lambda lost: log_lost(lost.exc_value, place=lost.thread.name if lost.thread else "")


def log_lost(error: BaseException | None, place: str) -> None:
    """Log an exception that no code can catch."""
    log.error("exception ignored", place=place, exc_info=error)
