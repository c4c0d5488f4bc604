"""OpenTelemetry spans: one per request, with a child for each stage; imported only if a collector is configured.

OpenTelemetry's own environment variables (`OTEL_…`) configure exporter and sampling.
"""

import os
from time import perf_counter, time_ns

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from service import __version__
from service.engine.stages import Intervals
from service.telemetry.records import Record


class Traces:
    """Send the spans of requests to a collector, from a thread of OpenTelemetry's."""

    def __init__(self) -> None:
        """Open the exporter configured by environment variables."""
        name = os.environ.get("OTEL_SERVICE_NAME", "dropserve")
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("dropserve", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def watch(self, record: Record) -> None:
        """Record the stages of a request with their times; called at its start."""
        record.watch = Intervals()

    def record(self, record: Record) -> None:
        """Send the spans of a request that has ended, as children of the caller's span (W3C traceparent), if any."""
        now, ended = time_ns(), perf_counter()

        def at(instant: float) -> int:
            return now - round((ended - instant) * 1e9)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in record.headers.items()}
        span = self._tracer.start_span(
            f"{record.method} {record.route}",
            self._propagator.extract(headers),
            SpanKind.SERVER,
            attributes=_attributes(record),
            start_time=at(record.started),
        )
        inside = trace.set_span_in_context(span)
        assert isinstance(record.watch, Intervals)
        for stage, (began, stopped) in record.watch.spans.items():
            attributes = {"dropserve.seconds": record.watch.seconds[stage]}
            self._tracer.start_span(stage, inside, attributes=attributes, start_time=at(began)).end(at(stopped))
        if record.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(now)

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


def _attributes(record: Record) -> dict[str, AttributeValue]:
    """Return attributes by OpenTelemetry's conventions for HTTP, and `dropserve.…` for models."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": record.method,
        "http.route": record.route,
        "http.response.status_code": record.status,
        "url.path": record.path[:200],
        "dropserve.request_id": record.request_id.decode(),
    }
    if record.manifest is not None:
        attributes |= {"dropserve.model": record.manifest.name, "dropserve.version": record.manifest.version}
    if record.outcome is not None:
        attributes |= {"dropserve.rows": record.outcome.rows, "dropserve.passes": record.outcome.passes}
        if record.outcome.seed is not None:
            attributes["dropserve.seed"] = str(record.outcome.seed)  # may be wider than a 64-bit integer
    return attributes
