"""The image's health check finds the service wherever it listens."""

import socket
import subprocess
import sys
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme

from deploy.image.ready import connect
from tests.ports import free_port
from tests.service.processes import service

READY = Path(__file__).parents[2] / "deploy" / "image" / "ready.py"


@pytest.mark.parametrize(
    ("environment", "command", "host", "port"),
    [
        ({}, [], "127.0.0.1", 8000),
        ({"DROPSERVE_HOST": "0.0.0.0", "DROPSERVE_PORT": "8080"}, [], "127.0.0.1", 8080),
        ({"DROPSERVE_HOST": "::"}, [], "127.0.0.1", 8000),
        ({"DROPSERVE_HOST": "[::1]"}, [], "::1", 8000),
        ({"dropserve_host": "10.0.0.7", "DROPSERVE_PORT": ""}, [], "10.0.0.7", 8000),
        ({"DROPSERVE_PORT": "8000"}, ["python", "-m", "service", "serve", "--port", "9000"], "127.0.0.1", 9000),
        (
            {},
            ["/sbin/docker-init", "--", "python", "serve", "--host=::1", "--port=9000", "--models", "m"],
            "::1",
            9000,
        ),
        ({"DROPSERVE_ROOT_PATH": "/ml"}, [], "127.0.0.1", 8000),
    ],
)
def test_the_address_of_the_health_check(environment: dict[str, str], command: list[str], host: str, port: int) -> None:
    connection = connect(environment, command)
    assert (connection.host, connection.port) == (host, port)
    assert not isinstance(connection, HTTPSConnection)


def ask(**environment: str) -> subprocess.CompletedProcess[str]:
    """A proxy of the environment is for others."""
    environment |= {"http_proxy": "http://192.0.2.1:1", "https_proxy": "http://192.0.2.1:1"}
    return subprocess.run([sys.executable, READY], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_the_health_check_uses_one_address(host: str) -> None:
    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with Server((host, 0), Ready) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        assert ask(DROPSERVE_HOST=host, DROPSERVE_PORT=str(server.server_port)).returncode == 0
        thread.join()


def test_the_health_check_works_over_tls_and_below_a_prefix(tmp_path: Path, published: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    trustme.CA().issue_cert("elsewhere.example").private_key_and_cert_chain_pem.write_to_path(certificate)
    settings = {
        "DROPSERVE_HOST": "::",
        "DROPSERVE_MODELS": str(published),
        "DROPSERVE_SSL_CERTFILE": str(certificate),
        "DROPSERVE_ROOT_PATH": "/ml",
        "DROPSERVE_DEFAULT_MODEL": "toy",
    }
    with service(tmp_path, verify=False, **settings) as running:
        place = {**settings, "DROPSERVE_PORT": str(running.client.base_url.port)}
        assert ask(**place).stderr == ""
        assert ask(**place).returncode == 0


def test_the_health_check_prints_why_a_service_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with service(tmp_path, "--models", str(tmp_path / "models")) as running:
        done = ask(DROPSERVE_PORT=str(running.client.base_url.port))
    assert done.returncode == 1
    assert "there is no model in" in done.stderr


def test_the_health_check_prints_a_refused_connection() -> None:
    done = ask(DROPSERVE_PORT=str(free_port()))
    assert (done.returncode, done.stderr) == (1, "the service cannot be reached: [Errno 111] Connection refused\n")
