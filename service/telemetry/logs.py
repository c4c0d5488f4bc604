"""Logging: one line an event; JSON for machines, colours for a terminal."""

import logging
import sys
from contextvars import ContextVar
from time import perf_counter

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from service.telemetry.records import Record

REQUEST_ID: ContextVar[bytes] = ContextVar("request_id")
"""Of the request that is being answered; set by `service.http.gate`."""

log = structlog.get_logger("service.http.access")


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


def configure_logging(level: str) -> None:
    """Send our own events and those of uvicorn to stderr, at least as severe as `level`."""
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
    terminal = sys.stderr.isatty()
    renderer: Processor = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*SHARED, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what a change means is told by who looks at it
