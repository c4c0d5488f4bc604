"""A real server under damaged, hostile and sly requests: by rule, in time, and the same afterwards."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import grpc
import pytest

from service.access.keys import make_key
from service.http.connection import MAX_HEAD_BYTES
from tests.conftest import wait_until
from tests.service.processes import Service
from tests.service.sockets import said_to
from tools.abuse.onnx_mutants import load_mutants
from tools.abuse.run import attack_service, guarded_service

HTTP, GRPC, FILES = 5000, 500, 200

SECRETS = ("ds_sentinel_in_a_header", "ds_sentinel_in_a_query", "sentinel-of-the-environment", "sentinel-in-a-body")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    with guarded_service(tmp_path_factory.mktemp("guarded")) as both:
        yield both


def test_damaged_requests_are_answered_by_rule() -> None:
    http, grpc = attack_service(HTTP, GRPC)
    assert http.faults == []
    assert grpc.faults == []
    assert (http.inputs, grpc.inputs) == (HTTP, GRPC)


def test_hostile_models_are_refused_or_loaded() -> None:
    """None ends the process that loads it."""
    outcomes, faults = load_mutants(FILES)
    assert faults == []
    assert sum(outcomes.values()) == FILES
    assert outcomes["refused"] > FILES // 2


# heads


LINE = b"GET /healthz HTTP/1.1\r\n"
LONG_FIELD, SHORT_FIELDS = b"x: " + b"a" * 1000 + b"\r\n", b"a: b\r\n" * 100


@pytest.mark.parametrize(
    ("start", "piece"), [(LINE, LONG_FIELD), (LINE, b"a" * 1000), (LINE, SHORT_FIELDS), (b"GET /", b"a" * 1000)]
)
def test_a_head_without_end_is_refused(guarded: tuple[Service, str], start: bytes, piece: bytes) -> None:
    client = guarded[0].client
    said = said_to(client, without_end(start, piece))
    assert said.startswith(b"HTTP/1.1 431 ")
    assert client.get("/healthz").status_code == 200


def test_a_path_with_spaces_is_refused_at_once(guarded: tuple[Service, str]) -> None:
    assert said_to(guarded[0].client, b"GET /" + SHORT_FIELDS).startswith(b"HTTP/1.1 400 ")


def test_trailers_without_end_are_refused(guarded: tuple[Service, str]) -> None:
    service, key = guarded
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n"
    said = said_to(service.client, head.encode(), without_end(b"0\r\n", LONG_FIELD))
    assert said.startswith(b"HTTP/1.1 431 ")


def without_end(start: bytes, piece: bytes) -> bytes:
    """As much as is too much, and no byte that is left unread: it would reset the connection."""
    return (start + piece * (MAX_HEAD_BYTES // len(piece) + 1))[: MAX_HEAD_BYTES + 1]


def test_a_long_head_that_ends_is_read(guarded: tuple[Service, str]) -> None:
    assert guarded[0].client.get("/healthz", headers={"x-note": "a" * (MAX_HEAD_BYTES // 2)}).status_code == 200


# what is kept of a caller


def test_requests_sent_ahead_are_not_hoarded(guarded: tuple[Service, str]) -> None:
    """One of 20 bytes takes 70 times as much once it is read; all of them would be with the answers to the first."""
    requests = 40_000
    service, _ = guarded
    before = peak_bytes(service.process.pid)
    with socket.create_connection((service.client.base_url.host, service.client.base_url.port or 0), 30) as connection:
        sender = Thread(target=connection.sendall, args=(b"GET /predict HTTP/1.1\r\nhost: x\r\n\r\n" * requests,))
        sender.start()
        answers, rest = 0, b""
        while answers < requests:
            got = connection.recv(2**16)
            assert got, f"{answers} answers, and then the end"
            answers += (rest + got).count(b"HTTP/1.1 401")
            rest = got[-11:]
        sender.join()
    assert answers == requests
    assert peak_bytes(service.process.pid) - before < 20 * 2**20


def peak_bytes(pid: int) -> int:
    """The most memory that the process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


# a way round the key


def test_grpc_asks_for_the_key_before_it_reads(guarded: tuple[Service, str]) -> None:
    service, key = guarded
    with grpc.insecure_channel(f"127.0.0.1:{service.said('gRPC listens')[0]['port']}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", bytes, bytes)
        for metadata, code in (((), "UNAUTHENTICATED"), ((("x-api-key", key),), "INVALID_ARGUMENT")):
            with pytest.raises(grpc.RpcError) as refused:
                infer(b"no protobuf", metadata=metadata)
            assert refused.value.code().name == code


BEHIND_A_KEY = [
    *("/v1/models/../models", "//v1/models", "/v1/models/", "/V1/models", "/v1/%6dodels", "/%76%31/models"),
    *("/v1/models;x", "/v1/models/..%2fmodels", "/./v1/models", "/v1//models", "/healthz/../v1/models"),
    *("/healthz%2f..%2fv1/models", "/v2/models/toy", "/v2/./models/toy", "/v2/health/../models/toy", "/metrics/"),
    *("/metrics", "/models/toy/files", "/models/toy/plots/..%2f..%2fmanifest.json", "/models/..%2f..%2fetc/card"),
    *("/models/toy%2f1/files", "http://x/v1/models", "http://x@y/v1/models", "/v1/models?key=x", "/v1/models#/healthz"),
]
UNDER_UI = [
    *("/ui/../v1/models", "/ui/%2e%2e/v1/models", "/ui/..%2f..%2fconfig.py", "/ui/%2e%2e/%2e%2e/errors.py"),
    *("/ui/....//errors.py", "/ui//etc/passwd"),
]
NOWHERE = ["/docs/../v1/models", "/v1/models%00", "/v1/models%0a"]
SLY_PATHS = [
    *((path, 401, 401) for path in BEHIND_A_KEY),
    *((path, 404, 405) for path in UNDER_UI),
    *((path, 404, 404) for path in NOWHERE),
    ("/\u212aredict", 400, 400),
]
"""With the status of what reads, and of what writes."""
SLY_HEADERS = [
    "authorization: Basic YTpi",
    "authorization: Bearer",
    "authorization: bearer  ",
    "x-api-key:",
    "x-api-key: null\r\nx-api-key: undefined",
    "x-api-key: \xff",
    "authorization: Bearer {digest}",
    "x-api-key: {digest}",
    "x-forwarded-for: 127.0.0.1\r\nx-original-url: /healthz\r\nx-rewrite-url: /healthz",
    "x-http-method-override: OPTIONS",
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAA=",
    "connection: x-api-key",
    "cookie: x-api-key=ds_x",
]


def digest_of_a_key(service: Service) -> str:
    return (service.log_file.parent / "keys").read_text().split()[2]


@pytest.mark.parametrize(("path", "read", "write"), SLY_PATHS)
def test_no_spelling_of_a_path_goes_round_the_key(
    guarded: tuple[Service, str], path: str, read: int, write: int
) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "PATCH"):
        request = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        said = said_to(guarded[0].client, request.encode())
        status = read if method in ("GET", "HEAD") else write
        assert said.startswith(b"HTTP/1.1 %d " % status), said[:200]
        assert b"toy" not in said.partition(b"\r\n\r\n")[2].replace(path.encode(), b"")


@pytest.mark.parametrize("headers", SLY_HEADERS)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v2/models/toy", "/v1/models/toy/unload"])
def test_no_header_stands_for_a_key(guarded: tuple[Service, str], headers: str, path: str) -> None:
    headers = headers.replace("{digest}", digest_of_a_key(guarded[0]))
    for method in ("GET", "POST"):
        request = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\nconnection: close\r\n\r\n"
        said = said_to(guarded[0].client, request.encode("latin-1"))
        assert said.startswith(b"HTTP/1.1 401 "), said[:200]


def test_of_two_keys_one_must_be_right(guarded: tuple[Service, str]) -> None:
    """Whichever of them is read, a wrong one opens nothing that a right one would not."""
    service, key = guarded
    _, admin = make_key("nobody", "admin")
    for first, second in ((key, "ds_wrong"), ("ds_wrong", key)):
        request = (
            f"POST /v1/models/toy/unload HTTP/1.1\r\nhost: x\r\nx-api-key: {first}\r\n"
            f"x-api-key: {second}\r\nauthorization: Bearer {admin.digest}\r\nconnection: close\r\n\r\n"
        )
        assert said_to(service.client, request.encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "content-length: 0\r\ncontent-length: 44\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "content-length: +0\r\n\r\n",
    ],
)
def test_no_request_is_smuggled_behind_another(guarded: tuple[Service, str], framing: str) -> None:
    """What two servers would cut differently is refused, and what follows it is not looked at."""
    service, key = guarded
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n"
    said = said_to(service.client, (head + framing + "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").encode("latin-1"))
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", said)) == 1
    assert said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "x"])
def test_no_request_is_smuggled_in_the_body_of_one_that_would_change_over(
    guarded: tuple[Service, str], protocol: str
) -> None:
    body = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    head = (
        f"POST /predict HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    last = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    for pieces in ((head, body, last), (head + body + last,)):
        said = said_to(guarded[0].client, *(piece.encode() for piece in pieces))
        assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"401", b"200"]


# secrets


def test_no_secret_is_in_the_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in an answer, not in the log though it has all requests, not in the metrics."""
    in_header, in_query, in_environment, in_body = SECRETS
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.setenv(name, in_environment)
    monkeypatch.setenv("DROPSERVE_ACCESS_LOG", "true")
    monkeypatch.setenv("DROPSERVE_LOG_LEVEL", "debug")
    with guarded_service(tmp_path) as (service, key):
        shown = b""
        for secret in (in_header, key):
            for headers in ({"x-api-key": secret}, {"authorization": f"Bearer {secret}"}):
                for path in ("/v1/models", f"/predict?key={in_query}", "/metrics", "/v2", "/no/such", "/openapi.json"):
                    for method in ("GET", "POST"):
                        answer = service.client.request(method, path, headers=headers, content=f'{{"{in_body}')
                        shown += answer.content + str(answer.headers).encode()
        wait_until(lambda: service.log_file.read_text().count('"event":"request"') >= 48)  # lines are written together
        log = service.log_file.read_text()
    for secret in (*SECRETS, key):
        assert secret not in log
        assert secret.encode() not in shown
