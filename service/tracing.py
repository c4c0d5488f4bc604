"""OpenTelemetry spans: one a request, and one below it for each stage. Imported only when they are wanted.

Where they go and how many are kept is said by OpenTelemetry's own environment variables (`OTEL_…`).
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
from service.calls import Call
from service.stages import Intervals


class Traces:
    """Spans on their way to a collector; a thread sends them, a request only hands them over."""

    def __init__(self) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "dropserve")
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("dropserve", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def watch(self, call: Call) -> None:
        """Have the call's stages noted with their times; at its beginning."""
        call.watch = Intervals()

    def record(self, call: Call) -> None:
        """The spans of a call that has ended, below that of its caller (W3C traceparent), where it names one."""
        now, ended = time_ns(), perf_counter()

        def at(instant: float) -> int:
            return now - round((ended - instant) * 1e9)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        span = self._tracer.start_span(
            f"{call.method} {call.route}",
            self._propagator.extract(headers),
            SpanKind.SERVER,
            attributes=_attributes(call),
            start_time=at(call.started),
        )
        inside = trace.set_span_in_context(span)
        assert isinstance(call.watch, Intervals)
        for stage, (began, stopped) in call.watch.spans.items():
            attributes = {"dropserve.seconds": call.watch.seconds[stage]}
            self._tracer.start_span(stage, inside, attributes=attributes, start_time=at(began)).end(at(stopped))
        if call.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(now)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _attributes(call: Call) -> dict[str, AttributeValue]:
    """Named by OpenTelemetry's conventions for HTTP, and by ours for models."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": call.method,
        "http.route": call.route,
        "http.response.status_code": call.status,
        "url.path": call.path[:200],
        "dropserve.request_id": call.request_id.decode(),
    }
    if call.manifest is not None:
        attributes |= {"dropserve.model": call.manifest.name, "dropserve.version": call.manifest.version}
    if call.outcome is not None:
        attributes |= {"dropserve.rows": call.outcome.rows, "dropserve.passes": call.outcome.passes}
        if call.outcome.seed is not None:
            attributes["dropserve.seed"] = str(call.outcome.seed)  # may be wider than a 64-bit integer
    return attributes
