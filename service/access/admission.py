"""Who is let in, and what is noted of how each request ended; for HTTP and gRPC alike."""

from typing import Protocol

from service.access.keys import Access, KeyScope, given_key
from service.access.refusals import STATUS
from service.errors import CallerGone
from service.review.log import PredictionLog
from service.telemetry.logs import REQUEST_ID, log_record
from service.telemetry.metrics import Metrics
from service.telemetry.records import Record

NOBODY_THERE = STATUS[CallerGone]
"""As nginx counts a caller who hung up."""


class Tracer(Protocol):
    """Where spans go: `service.telemetry.tracing.Traces`."""

    def watch(self, record: Record) -> None:
        """Have its stages noted; at the beginning of a request."""

    def record(self, record: Record) -> None:
        """Its spans; at its end."""

    def close(self) -> None:
        """Send what is left; may take a while."""


class Admission:
    """What all requests pass at their beginning and at their end."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        access: Access | None = None,
        traces: Tracer | None = None,
        predictions: PredictionLog | None = None,
        log_all: bool = False,
    ) -> None:
        self._metrics = metrics
        self._access = access
        self._traces = traces
        self._predictions = predictions
        self._log_all = log_all
        self.guarded = access is not None
        """Whether callers must show a key."""

    def begin(self, record: Record) -> None:
        """Before anything else is done with a request."""
        REQUEST_ID.set(record.request_id)
        if self._traces:
            self._traces.watch(record)

    def check(self, record: Record, needed: KeyScope | None) -> None:
        """Before anything of the body is read. Raises Unauthenticated or Forbidden."""
        if self._access and needed:
            record.caller = self._access.check(needed, given_key(record.headers)).name

    def end(self, record: Record) -> None:
        """Count, log, trace, keep."""
        self._metrics.count_record(record)
        if self._log_all or record.status >= 500:
            log_record(record)
        if self._traces:
            self._traces.record(record)
        if self._predictions:
            self._predictions.take(record)
