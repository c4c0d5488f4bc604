"""Who may do what: keys, scopes, transport and pages, against live servers."""

import http.client
import json
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import trustme
from typer.testing import CliRunner

from service.__main__ import cli
from service.access.keys import InvalidKeyFile, given_key, make_key, needed_scope, read_keys
from service.config import Settings
from service.errors import Forbidden, Unauthenticated
from service.http.app import create_app
from tests.conftest import Serve, running_server
from tests.service.processes import service
from tests.toy import ToyNet

SCOPES = {"alice": "infer", "bob": "infer", "root": "admin"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The key file, and the keys by name."""
    made = {name: make_key(name, scope) for name, scope in SCOPES.items()}  # type: ignore[arg-type]
    file = tmp_path_factory.mktemp("keys") / "keys"
    lines = ["# who may ask", "", *(stored.line() for _, stored in made.values())]
    file.write_text("\n".join(lines) + "\n")
    return file, {name: secret for name, (secret, _) in made.items()}


@pytest.fixture(scope="module")
def guarded(published: Path, keys: tuple[Path, dict[str, str]]) -> Iterator[httpx.Client]:
    with running_server(create_app(Settings(models=published, api_keys=keys[0]))) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


INFER = [
    ("POST", "/predict"),
    ("POST", "/uncertainty"),
    ("POST", "/v1/models/toy/predict"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/toy"),
    ("GET", "/v1/models/toy/examples"),
    ("GET", "/v1/models/toy/versions/1/examples"),
    ("GET", "/metrics"),
    ("GET", "/v2"),
    ("GET", "/v2/models/toy"),
    ("POST", "/v2/models/toy/infer"),
    ("POST", "/v2/repository/index"),
]
ADMIN = [
    ("POST", "/v1/models/yield/unload"),
    ("POST", "/v1/models/yield/load"),
    ("POST", "/v2/repository/models/yield/unload"),
    ("POST", "/v2/repository/models/yield/load"),
]
OPEN = ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json", "/", "/ui/style.css"]


@pytest.mark.parametrize(("method", "path"), INFER + ADMIN)
def test_without_a_key_nothing_is_revealed(guarded: httpx.Client, method: str, path: str) -> None:
    for headers in ({}, bearer("wrong"), {"authorization": "Bearer"}, {"x-api-key": "ds_unknown"}):
        response = guarded.request(method, path, headers=headers, json={"inputs": []})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        error = response.json()["error"]
        message = error if path.startswith("/v2") else error["message"]
        assert "key" in message
        assert "ds_unknown" not in response.text


@pytest.mark.parametrize(("method", "path"), INFER)
def test_a_key_of_the_scope_infer_uses_models(
    guarded: httpx.Client, keys: tuple[Path, dict[str, str]], method: str, path: str
) -> None:
    for name in SCOPES:
        for headers in (bearer(keys[1][name]), {"x-api-key": keys[1][name]}):
            assert guarded.request(method, path, headers=headers).status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_only_admin_keys_load_and_unload(
    guarded: httpx.Client, keys: tuple[Path, dict[str, str]], method: str, path: str
) -> None:
    for headers in (bearer(keys[1]["alice"]), {"x-api-key": keys[1]["bob"]}):
        refused = guarded.request(method, path, headers=headers)
        assert refused.status_code == 403
        assert "scope" in refused.text
    assert guarded.request(method, path, headers=bearer(keys[1]["root"])).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_health_and_documentation_are_open(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path, follow_redirects=True).status_code == 200


def test_the_openapi_document_has_the_required_keys(guarded: httpx.Client, client: httpx.Client) -> None:
    described = guarded.get("/openapi.json").json()
    assert set(described["components"]["securitySchemes"]) == {"bearer", "key"}
    assert described["paths"]["/predict"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert described["paths"]["/healthz"]["get"]["security"] == []
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_the_body_is_not_read_before_the_key(guarded: httpx.Client) -> None:
    with socket.create_connection((guarded.base_url.host, guarded.base_url.port or 0)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/x/load", "/x/unload/", "/v2/repository/models/a/b/load", "/load"])
def test_whatever_ends_like_an_admin_path_is_one(path: str) -> None:
    assert needed_scope(path) == "admin"


@pytest.mark.parametrize("path", ["//healthz", "/healthz/x", "/HEALTHZ", "/docsx", "/v2/health", "/no/such/path", ""])
def test_what_is_not_known_needs_all(path: str) -> None:
    assert needed_scope(path) == "admin"


REFRESH = "/v1/models/refresh"
ADMIN_PATHS = [
    "/v1/models/toy/unload",
    "/v1/models/toy/load",
    "/v1/models/toy/versions/1/unload",
    "/v2/repository/models/toy/unload",
    REFRESH,
]
FORBIDDEN, UNKNOWN, READ_ONLY = "403", "404", "405"
SPELLINGS = [
    *((path, end, FORBIDDEN) for path in ADMIN_PATHS for end in ("", "/", "//", "%2f", "?x=/predict")),
    *((path, end, FORBIDDEN) for path in ADMIN_PATHS if path != REFRESH for end in (";x", "%20")),
    *((REFRESH, end, READ_ONLY) for end in (";x", "%20")),  # what a model may be called
    *((path, end, UNKNOWN) for path in ADMIN_PATHS for end in ("%0A", "%0a", "%0D", "%0D%0A", "%00")),
]


@pytest.mark.parametrize(("path", "end", "expected"), SPELLINGS)
def test_no_spelling_of_an_admin_path_needs_less(
    guarded: httpx.Client, keys: tuple[Path, dict[str, str]], path: str, end: str, expected: str
) -> None:
    """Sent as they are: a client would put some of them in order."""
    request = f"POST {path}{end} HTTP/1.1\r\nhost: x\r\nx-api-key: {keys[1]['alice']}\r\nconnection: close\r\n\r\n"
    with socket.create_connection((guarded.base_url.host, guarded.base_url.port or 0)) as connection:
        connection.sendall(request.encode())
        status = connection.makefile("rb").readline().split()[1]
    assert status.decode() == expected


def test_a_key_in_a_header() -> None:
    assert given_key({b"authorization": b"bearer  k "}) == "k"
    assert given_key({b"x-api-key": b"k"}) == "k"
    assert given_key({b"authorization": b"Basic abc", b"x-api-key": b"k"}) == "k"
    assert given_key({b"authorization": b"Bearer"}) is None
    assert given_key({}) is None


# the key file


def test_a_key_is_made_at_the_command_line_and_known_by_its_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["key", "--name", "carol", "--scope", "admin"])
    assert result.exit_code == 0
    secret = re.findall(r"^key:\s+(\S+)$", result.output, re.MULTILINE)[0]
    line = re.findall(r"^line:\s+(.+)$", result.output, re.MULTILINE)[0]
    assert secret not in line
    (tmp_path / "keys").write_text(line)
    access = read_keys(tmp_path / "keys")
    assert access.check("admin", secret).name == "carol"
    assert access.check("infer", secret).name == "carol"
    with pytest.raises(Unauthenticated):
        access.check("infer", secret[:-1])


def test_two_keys_are_never_the_same() -> None:
    assert make_key("a", "infer")[0] != make_key("a", "infer")[0]


def test_an_infer_key_is_no_admin_key(keys: tuple[Path, dict[str, str]]) -> None:
    with pytest.raises(Forbidden, match="'alice' has the scope infer; this needs admin"):
        read_keys(keys[0]).check("admin", keys[1]["alice"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no key"),
        ("# only a comment\n\n", "has no key"),
        ("alice infer", "line 1: expected a name, a scope and the SHA-256"),
        (f"alice infer {'0' * 63}", "line 1: expected"),
        (f"alice infer {'0' * 64} more", "line 1: expected"),
        (f"\nalice root {'0' * 64}", "line 2: expected the scope infer, review or admin, found 'root'"),
    ],
)
def test_a_key_file_that_breaks_the_form_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InvalidKeyFile, match=re.escape(message)):
        read_keys(file)


def test_a_key_file_that_is_not_there_stops_the_service(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["serve"], env={"DROPSERVE_API_KEYS": str(tmp_path / "none")})
    assert result.exit_code == 1
    assert "the key file cannot be read" in " ".join(result.output.split())


@pytest.mark.parametrize("name", ["two words", "", "#comment", "new\nline"])
def test_a_key_needs_a_name_of_one_word(name: str) -> None:
    result = CliRunner().invoke(cli, ["key", "--name", name])
    assert result.exit_code == 2
    assert "expected a word without spaces" in result.output


# paths

NASTY = ["..", "../toy", "../../etc/passwd", "toy/../toy", "/etc/passwd", "toy\0", "~", "%2e%2e", "toy/1", ".", "TOY"]


def status_of(client: httpx.Client, method: str, path: str, body: object) -> int:
    """Of a path that is sent as it is: httpx would resolve its dots."""
    with closing(http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)) as connection:
        connection.request(method, path, json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse().status


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/{}/predict"),
        ("GET", "/v1/models/{}"),
        ("POST", "/v2/models/{}/infer"),
        ("GET", "/v2/models/{}"),
    ],
)
def test_no_name_leads_out_of_the_models(client: httpx.Client, toy: ToyNet, name: str, method: str, path: str) -> None:
    body = {"inputs": toy.rows(1).tolist()}
    for spelled in (quote(name, safe=""), quote(quote(name, safe=""), safe="")):
        assert status_of(client, method, path.format(spelled), body) == 404


@pytest.mark.parametrize("name", NASTY)
def test_no_name_loads_from_elsewhere(client: httpx.Client, name: str) -> None:
    before = client.get("/v1/models").json()
    for path in ("/v1/models/{}/load", "/v2/repository/models/{}/load"):
        assert status_of(client, "POST", path.format(quote(name, safe="")), {}) == 404
    assert client.get("/v1/models").json() == before


@pytest.mark.parametrize("path", ["/static-offline-docs/../core.py", "/static-offline-docs/%2e%2e/core.py"])
def test_no_path_leads_out_of_the_static_files(client: httpx.Client, path: str) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 404 ")


# browsers


def test_other_origins_are_not_let_in_by_default(client: httpx.Client) -> None:
    response = client.get("/healthz", headers={"origin": "https://app.example.org"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_no_cache_mixes_the_answers_for_several_origins(serve: Serve, published: Path) -> None:
    with serve(models=published, cors_origins=("https://app.example.org",)) as client:
        for headers in ({}, {"origin": "https://app.example.org"}):
            assert client.get("/healthz", headers=headers).headers["vary"] == "Origin"
            for body in ({"inputs": [[0] * 4]}, {}):
                assert client.post("/predict", json=body, headers=headers).headers["vary"] == "Origin"


def test_an_origin_that_is_set_may_ask(serve: Serve, published: Path, keys: tuple[Path, dict[str, str]]) -> None:
    with serve(models=published, api_keys=keys[0], cors_origins=("https://app.example.org",)) as client:
        wish = {
            "origin": "https://app.example.org",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        allowed = client.options("/predict", headers=wish)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
        assert client.options("/predict", headers=wish | {"origin": "https://evil.example"}).status_code == 400
        refused = client.post("/predict", headers={"origin": "https://app.example.org"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example.org"


def test_the_page_runs_no_script_but_its_own(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    inline = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digests = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in inline]
    assert policy["script-src"].split() == ["'self'", *digests]
    assert len(inline) == 1
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 3
    for link in linked:
        assert ":" not in link
        assert client.get(f"/{link}").status_code == 200
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


# transport


def test_https(tmp_path: Path, published: Path, toy: ToyNet) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    settings = {
        "DROPSERVE_SSL_CERTFILE": str(tmp_path / "cert.pem"),
        "DROPSERVE_SSL_KEYFILE": str(tmp_path / "key.pem"),
    }
    with service(tmp_path, "--models", str(published), verify=trusting, **settings) as running:
        assert running.client.base_url.scheme == "https"
        assert running.client.post("/predict", json={"inputs": toy.rows(1).tolist()}).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(str(running.client.base_url))


def test_a_key_without_a_certificate_stops_the_service(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["serve"], env={"DROPSERVE_SSL_KEYFILE": str(tmp_path / "key.pem")})
    assert result.exit_code == 1
    assert "DROPSERVE_SSL_CERTFILE: expected the certificate of the key in ssl_keyfile, found none" in " ".join(
        result.output.split()
    )


def test_a_certificate_without_a_key_stops_the_service(tmp_path: Path) -> None:
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    result = CliRunner().invoke(cli, ["serve"], env={"DROPSERVE_SSL_CERTFILE": str(tmp_path / "cert.pem")})
    assert result.exit_code == 1
    assert "the key is expected in the same file" in " ".join(result.output.split())


def test_a_certificate_of_no_use_stops_the_service(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    result = CliRunner().invoke(cli, ["serve"], env={"DROPSERVE_SSL_CERTFILE": str(tmp_path / "cert.pem")})
    assert result.exit_code == 1
    assert "ssl_certfile" in " ".join(result.output.split())
