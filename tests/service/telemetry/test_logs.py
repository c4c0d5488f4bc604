"""What a service logs: JSON, a request's lines by its id, and never what a request held."""

import json
import logging
import os
import pty
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from service.access.keys import make_key
from service.telemetry.logs import REQUEST_ID, configure_logging, log_records
from service.telemetry.records import Outcome, Record
from tests.conftest import Serve
from tests.service.processes import service
from tests.toy import LookupNet, ToyNet

NUMBERS = re.compile(r"""[0-9T:.-]+Z|(?<=milliseconds)(\x1b\[0m=\x1b\[35m|":)[0-9.]+""")
ADAPTIVE = {"max": 50, "confidence": 0.9}


class Lines:
    """What is logged to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def text(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return self._file.read_text()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lines]:
    """What is logged from here on."""
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.WARNING)  # the test's own client
    file = tmp_path / "lines"
    with file.open("wb") as output, logging_to(output.fileno()):
        yield Lines(file)


@contextmanager
def logging_to(descriptor: int) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    configure_logging("info", descriptor)
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = handlers, level


def requests(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines.all() if line["event"] == "request"]


def test_every_request_is_logged_if_configured(serve: Serve, published: Path, lines: Lines, toy: ToyNet) -> None:
    with serve(models=published, access_log=True) as client:
        asked = {"inputs": toy.rows(3).tolist(), "samples": 20, "seed": 5}
        client.post("/v1/models/toy/uncertainty", json=asked, headers={"x-request-id": "mine"})
        client.get("/nowhere")
    answered = next(line for line in requests(lines) if line.get("request_id") == "mine")
    expected = {
        "method": "POST",
        "path": "/v1/models/toy/uncertainty",
        "status": 200,
        "model": "toy/2",
        "rows": 3,
        "passes": 20,
        "seed": 5,
        "level": "info",
    }
    assert expected.items() <= answered.items()
    assert answered["milliseconds"] > 0
    assert [line["status"] for line in requests(lines) if line["path"] == "/nowhere"] == [404]


def test_by_default_only_errors_of_ours_are(serve: Serve, published: Path, lines: Lines) -> None:
    with serve(models=published) as client:
        body = {"inputs": [[0.5] * 4] * 1000, "samples": 1000}
        refused = client.post("/uncertainty", json=body, headers={"x-request-timeout": "0.05"})
        assert refused.status_code == 504
        client.post("/predict", json={"inputs": [[1]]})
    late = [line for line in requests(lines) if line["path"] != "/readyz"]
    assert [(line["status"], line["level"]) for line in late] == [(504, "warning")]
    assert late[0]["request_id"] == refused.headers["x-request-id"]


def test_a_mistake_of_ours_is_logged_with_its_trace_and_id(
    client: httpx.Client, lines: Lines, toy: ToyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("service.http.predict_routes.prediction_entries", broken)
    response = client.post("/predict", json={"inputs": toy.rows(1).tolist()})
    assert response.status_code == 500
    assert "ZeroDivisionError" not in response.text
    trace = next(line for line in lines.all() if line["event"] == "unexpected error")
    assert trace["request_id"] == response.headers["x-request-id"]
    assert "ZeroDivisionError: of ours" in trace["exception"]
    assert [line["status"] for line in requests(lines)] == [500]


def test_neither_keys_nor_bodies_are_logged(serve: Serve, published: Path, lines: Lines, tmp_path: Path) -> None:
    secret, stored = make_key("alice", "infer")
    (tmp_path / "keys").write_text(stored.line())
    with serve(models=published, api_keys=tmp_path / "keys", access_log=True, log_level="debug") as client:
        for headers in ({"authorization": f"Bearer {secret}"}, {"x-api-key": secret}, {"x-api-key": "ds_wrong"}):
            client.post("/predict", json={"inputs": [[0.123456789] * 4]}, headers=headers)
            client.post("/predict", json={"inputs": "0.123456789"}, headers=headers)
            client.post("/predict?x=0.123456789", content="{0.123456789", headers=headers)
    text = lines.text()
    assert [line.get("caller") for line in requests(lines) if line["path"] == "/predict"] == ["alice"] * 6 + [None] * 3
    assert secret not in text
    assert stored.digest not in text
    assert "ds_wrong" not in text
    assert "0.123456789" not in text


def test_the_lines_of_other_modules_bear_the_id_too(lines: Lines) -> None:
    token = REQUEST_ID.set(b"abc")
    logging.getLogger("elsewhere").warning("of %s", "theirs")
    REQUEST_ID.reset(token)
    logging.getLogger("elsewhere").warning("of nobody")
    with_id, without = lines.all()
    assert (with_id["event"], with_id["request_id"]) == ("of theirs", "abc")
    assert "request_id" not in without


@pytest.mark.parametrize(
    "paths",
    [
        ["/a\nb", "/a\u2028b", "/a\x85b", "/a\x9bb", "/a\x7fb", "/\U0001f600", '/"\\'],
        ["/}, {", '/}, {"method": "', "/", '"}, {"method": ', "/}\n{"],  # like the place between two lines
    ],
)
def test_no_path_breaks_a_line(lines: Lines, paths: list[str]) -> None:
    log_records([Record("GET", path, {}) for path in paths])
    assert re.fullmatch(r"[ -~\n]*", lines.text())
    assert [line["path"] for line in lines.all()] == paths


def test_a_line_has_its_fields_in_order(lines: Lines) -> None:
    record = Record("POST", "/v1/models/toy/uncertainty", {b"x-request-id": b"mine"})
    record.status, record.manifest, record.caller = 200, ToyNet().manifest(), "alice"
    record.outcome = Outcome(rows=3, passes=20, seed=2**63)
    log_records([record])
    [line] = lines.all()
    taken, time = line.pop("milliseconds"), line.pop("timestamp")
    assert taken > 0
    assert datetime.fromisoformat(time).tzinfo == UTC
    assert list(line.items()) == [
        ("method", "POST"),
        ("path", "/v1/models/toy/uncertainty"),
        ("status", 200),
        ("model", "toy/1"),
        ("rows", 3),
        ("passes", 20),
        ("seed", 2**63),
        ("caller", "alice"),
        ("event", "request"),
        ("request_id", "mine"),
        ("level", "info"),
        ("logger", "service.telemetry.logs"),
    ]


def test_requests_are_logged_from_their_level_on(lines: Lines) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    ended = [Record("GET", "/", {}) for _ in range(4)]
    for record, status in zip(ended, (200, 500, 404, 503), strict=True):
        record.status = status
    log_records(ended)
    assert [(line["status"], line["level"]) for line in lines.all()] == [(500, "error"), (503, "warning")]


@pytest.mark.parametrize("path", ["/x", "/é"])
@pytest.mark.parametrize("terminal", [False, True])
def test_lines_of_requests_look_like_those_of_other_events(terminal: bool, path: str) -> None:
    reader, writer = pty.openpty() if terminal else os.pipe()
    with logging_to(writer):
        log_records([Record("GET", path, {b"x-request-id": b"mine"}) for _ in range(2)])
        event = {"method": "GET", "path": path, "status": 0, "milliseconds": 0.5}
        token = REQUEST_ID.set(b"mine")
        structlog.get_logger(log_records.__module__).info("request", **event)
        REQUEST_ID.reset(token)
        content = b""
        while content.count(b"\n") < 3:
            content += os.read(reader, 2**16)
    os.close(reader)
    os.close(writer)
    first, second, other = (NUMBERS.sub("", line) for line in content.decode().splitlines())
    assert first == second == other
    assert ("\x1b[1mrequest" in first) == terminal


@pytest.mark.parametrize("given", ["", "a" * 129, "with space", "ümlaut".encode()])
def test_an_id_that_is_no_id_is_replaced(client: httpx.Client, given: str | bytes) -> None:
    found = client.get("/healthz", headers={b"x-request-id": given if isinstance(given, bytes) else given.encode()})
    assert len(found.headers["x-request-id"]) == 16


def test_an_id_is_echoed_even_on_refusals(client: httpx.Client) -> None:
    for path in ("/healthz", "/nowhere", "/predict", "/v2/nowhere", "/docs"):
        assert client.get(path, headers={"x-request-id": "mine/1"}).headers["x-request-id"] == "mine/1"


def test_rows_that_the_graph_cannot_take_are_refused_and_not_logged(tmp_path: Path) -> None:
    net = LookupNet()
    net.publish(tmp_path / "models")
    good, bad = [0.5, 1, 1, 1], [9, 1, 1, 1]
    with service(tmp_path, "--workers", "2", DROPSERVE_MODELS=str(tmp_path / "models")) as running:
        for path, more in (("/predict", {}), ("/uncertainty", {}), ("/uncertainty", {"samples": ADAPTIVE})):
            refused = running.client.post(path, json={"inputs": [good, bad], **more})
            assert refused.status_code == 422, refused.text
            assert refused.json()["error"]["details"] == {"field": "inputs[1]", "row": 1}
        tensor = {"name": "input", "datatype": "FP32", "shape": [2, 4], "data": [*good, *bad]}
        refused = running.client.post("/v2/models/toy/infer", json={"inputs": [tensor]})
        assert (refused.status_code, "inputs[1]" in refused.text) == (400, True)
    for line in running.log_file.read_text().splitlines():
        json.loads(line)


def test_what_makes_the_service_not_ready_is_logged_once(tmp_path: Path, published: Path) -> None:
    with service(tmp_path, DROPSERVE_MODELS=str(published), DROPSERVE_DEFAULT_MODEL="nope") as running:
        assert running.client.post("/v1/models/refresh").status_code == 200
        reasons = [line["reason"] for line in running.said("the service is not ready")]
        assert reasons == ["the default model 'nope' is not among toy, yield"]
