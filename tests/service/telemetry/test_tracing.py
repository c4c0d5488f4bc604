"""Traces, as a collector that speaks OTLP over HTTP receives them from a real service."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.service.processes import service
from tests.toy import ToyNet

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receive)
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []

    def of(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


class Receive(BaseHTTPRequestHandler):
    """POST /v1/traces."""

    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for of_resource in sent.resource_spans:
            self.server.resources.append(attributes(of_resource.resource))
            self.server.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_a_span_a_request_and_one_below_it_for_each_stage(
    collector: Collector, tmp_path: Path, published: Path, toy: ToyNet
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with service(tmp_path, "--models", str(published), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as running:
        asked = {"inputs": toy.rows(3).tolist(), "samples": 20, "seed": 5}
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
        assert running.client.post("/v1/models/toy/versions/1/uncertainty", json=asked, headers=headers).is_success
        running.client.post("/predict", json={"inputs": "no"})
        hurried = {"inputs": toy.rows(1000).tolist(), "samples": 1000}
        running.client.post("/uncertainty", json=hurried, headers={"x-request-timeout": "0.05"})
        running.stop()  # what is left is sent

    span = collector.of("POST /uncertainty")[0]
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/uncertainty",
        "http.response.status_code": 200,
        "url.path": "/v1/models/toy/versions/1/uncertainty",
        "dropserve.request_id": "mine",
        "dropserve.model": "toy",
        "dropserve.version": 1,
        "dropserve.rows": 3,
        "dropserve.passes": 20,
        "dropserve.seed": "5",
    }
    stages = [below for below in collector.spans if below.parent_span_id == span.span_id]
    assert {stage.name for stage in stages} == {"receive", "queue", "parse", "run", "summarise", "encode"}
    for stage in stages:
        assert stage.trace_id == span.trace_id
        assert span.start_time_unix_nano <= stage.start_time_unix_nano + 1000  # clocks are read one by one
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano <= span.end_time_unix_nano + 1000
        assert attributes(stage)["dropserve.seconds"] > 0

    refused = collector.of("POST /predict")[0]
    assert attributes(refused)["http.response.status_code"] == 422
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert refused.parent_span_id == b""
    late = collector.of("POST /uncertainty")[1]
    assert attributes(late)["http.response.status_code"] == 504
    assert late.status.code == Status.STATUS_CODE_ERROR
    assert all(resource["service.name"] == "dropserve" for resource in collector.resources)


def test_without_a_collector_nothing_that_sends_is_imported() -> None:
    code = "import sys; from service.http.app import create_app; create_app(); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"service.telemetry.tracing", "opentelemetry.sdk", "opentelemetry.exporter"} & set(found)
    assert "service.access.admission" in found


def test_an_unreachable_collector_stops_no_request(tmp_path: Path, published: Path, toy: ToyNet) -> None:
    nobody = "http://127.0.0.1:9"
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": nobody, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with service(tmp_path, "--models", str(published), **settings) as running:
        assert running.client.post("/predict", json={"inputs": toy.rows(1).tolist()}).is_success
