"""Logging: one line per event, in JSON, or in colours on a terminal."""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from structlog.types import EventDict, Processor, WrappedLogger

from service.telemetry.log_lines import SEPARATORS, format_as_json, format_in_colours
from service.telemetry.log_writer import LogWriter

if TYPE_CHECKING:
    from service.telemetry.records import Record  # imports onnxruntime, which no supervisor needs

REQUEST_ID: ContextVar[bytes] = ContextVar("request_id")
"""The id of the request being answered, added to its log lines."""

STDERR = 2
STANDARD = (0, 1, STDERR)
"""Descriptors of stdin, stdout and stderr."""

log = structlog.get_logger(__name__)
requests_log = logging.getLogger(__name__)

LEVELS = {logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
"""Names of the levels of requests."""


class RequestEnded(msgspec.Struct):
    """The event of a request that has ended, with the fields of its line in their order."""

    method: str
    path: str
    status: int
    milliseconds: float
    model: str | UnsetType
    rows: int | UnsetType
    passes: int | UnsetType
    seed: int | UnsetType | None
    caller: str | UnsetType
    event: str
    request_id: str
    level: str
    logger: str
    timestamp: datetime


def log_records(records: "Sequence[Record]") -> None:
    """Log the end of requests that were answered together, without their bodies and keys."""
    now, timestamp = perf_counter(), datetime.now(UTC)
    events = [
        _describe(record, LEVELS[level], now, timestamp)
        for record in records
        if requests_log.isEnabledFor(level := _level(record))
    ]
    if not events:
        return
    writers = [handler for handler in logging.getLogger().handlers if isinstance(handler, LogWriter)]
    for writer in writers:
        writer.add_events(events)
    if not writers:  # the service is part of another program, which has its own handlers
        requests_log.log(max(map(_level, records)), format_as_json(events).rstrip().decode())


def _level(record: "Record") -> int:
    return logging.INFO if record.status < 500 else logging.ERROR if record.status == 500 else logging.WARNING


def _describe(record: "Record", level: str, now: float, timestamp: datetime) -> RequestEnded:
    """Return the event of a request that ended at `now`."""
    manifest, outcome = record.manifest, record.outcome
    return RequestEnded(
        method=record.method,
        path=record.path[:200],
        status=record.status,
        milliseconds=round(1e6 * (now - record.started)) / 1000,
        model=UNSET if manifest is None else f"{manifest.name}/{manifest.version}",
        rows=UNSET if outcome is None else outcome.rows,
        passes=UNSET if outcome is None else outcome.passes,
        seed=UNSET if outcome is None else outcome.seed,
        caller=UNSET if record.caller is None else record.caller,
        event="request",
        request_id=record.request_id.decode(),
        level=level,
        logger=requests_log.name,
        timestamp=timestamp,
    )


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
    on_terminal = os.isatty(descriptor)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(separators=SEPARATORS)
    )
    handler = LogWriter(descriptor, format_in_colours if on_terminal else format_as_json)
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
