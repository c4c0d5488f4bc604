"""Check the key of every request, and record its end, for HTTP and gRPC alike."""

from collections.abc import Sequence
from typing import Protocol

from service.access.keys import Access, KeyScope, given_key
from service.access.refusals import STATUS
from service.errors import CallerGone
from service.review.log import PredictionLog
from service.telemetry.logs import REQUEST_ID, log_records
from service.telemetry.metrics import Metrics
from service.telemetry.records import Record

DISCONNECTED = STATUS[CallerGone]
"""The status counted for a caller that disconnected, nginx's 499."""


class Tracer(Protocol):
    """The interface of `service.telemetry.tracing.Traces`."""

    def watch(self, record: Record) -> None:
        """Record the stages of a request with their times; called at its start."""

    def record(self, record: Record) -> None:
        """Send the spans of a request that has ended."""

    def close(self) -> None:
        """Send the remaining spans, which may take long."""


class Admission:
    """The checks at the start of every request, and the records at its end."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        access: Access | None = None,
        traces: Tracer | None = None,
        predictions: PredictionLog | None = None,
        log_all: bool = False,
    ) -> None:
        """Count requests in `metrics`; without `access` no key is required. `log_all` logs every request."""
        self._metrics = metrics
        self._access = access
        self._traces = traces
        self._predictions = predictions
        self._log_all = log_all
        self.guarded = access is not None
        """Whether requests need a key."""

    def begin(self, record: Record) -> None:
        """Begin a request: set the id of its log lines, and start its trace."""
        REQUEST_ID.set(record.request_id)
        self.trace(record)

    def trace(self, record: Record) -> None:
        """Start the trace of a request."""
        if self._traces:
            self._traces.watch(record)

    @property
    def keys(self) -> object:
        """The keys in force, another object after each change of them."""
        return self._access.keys if self._access else None

    def check(self, record: Record, needed: KeyScope | None) -> None:
        """Check the request's key, before its body is read. Raises Unauthenticated or Forbidden."""
        if self._access and needed:
            record.caller = self._access.check(needed, given_key(record.headers)).name

    def end(self, records: Sequence[Record]) -> None:
        """End requests that were answered together: count them, and log, trace and store them as configured."""
        self._metrics.count_records(records)
        if logged := records if self._log_all else [record for record in records if record.status >= 500]:
            log_records(logged)
        if self._traces:
            for record in records:
                self._traces.record(record)
        if self._predictions:
            for record in records:
                self._predictions.take(record)
